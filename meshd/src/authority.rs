//! Citadel as this process needs it: the CA, who may call, and our own certificates.

use std::sync::Arc;

use anyhow::Context as _;
use citadel::authenticate::Authenticator;
use citadel::authenticate::jwks::TokenVerifier;
use citadel::ca::{CaConfig, rotation};
use citadel::issue::Lifetimes;
use citadel::serving::{ClientAuth, ServingOptions, ServingTls};
use citadel::{Ca, Clock};
use mesh_api::identity::TrustDomain;
use mesh_runtime::metrics::Registry;
use mesh_runtime::task::Tasks;

use crate::args::Args;

/// The authority and what hangs on it.
pub(crate) struct Authority {
    pub(crate) ca: Arc<Ca>,
    pub(crate) authenticator: Authenticator,
    /// For discovery and signing: clients may show a certificate of the mesh.
    pub(crate) xds_tls: Arc<ServingTls>,
    /// For webhooks: the API server shows none.
    pub(crate) webhook_tls: Arc<ServingTls>,
}

/// Opens the CA and keeps it, the token keys and our certificates fresh in `tasks`.
pub(crate) fn open(
    args: &Args,
    trust_domain: TrustDomain,
    registry: &mut Registry,
    tasks: &Tasks,
) -> anyhow::Result<Authority> {
    let metrics = citadel::metrics::Metrics::default();
    metrics.register(registry);
    let lifetimes = Lifetimes {
        default: args.workload_ttl.try_into().context("--workload-ttl")?,
        ..Lifetimes::default()
    };
    let config = CaConfig {
        directory: args.ca_dir.clone(),
        trust_domain: trust_domain.clone(),
        lifetimes,
        clock: Clock::system(),
    };
    let ca = Arc::new(Ca::open(config, metrics)?);
    tasks.spawn("ca-rotation", rotation::run(ca.clone()));
    let tokens = token_verifier(args, &trust_domain, tasks)?;
    let serving = |name, client_auth, alpn: &[&[u8]]| {
        let options = ServingOptions {
            names: args.server_names(),
            client_auth,
            alpn: alpn.iter().map(|protocol| protocol.to_vec()).collect(),
        };
        let tls = Arc::new(ServingTls::new(ca.clone(), options)?);
        tasks.spawn(name, tls.clone().run());
        anyhow::Ok(tls)
    };
    Ok(Authority {
        xds_tls: serving("xds-certificate", ClientAuth::Optional, &[b"h2"])?,
        webhook_tls: serving(
            "webhook-certificate",
            ClientAuth::None,
            &[b"h2", b"http/1.1"],
        )?,
        authenticator: Authenticator::new(trust_domain, tokens, Clock::system()),
        ca,
    })
}

fn token_verifier(
    args: &Args,
    trust_domain: &TrustDomain,
    tasks: &Tasks,
) -> anyhow::Result<Option<Arc<TokenVerifier>>> {
    let (Some(path), Some(issuer)) = (&args.jwks_file, &args.token_issuer) else {
        tracing::warn!("no --jwks-file: service-account tokens are refused");
        return Ok(None);
    };
    let verifier = Arc::new(TokenVerifier::open(path, issuer, trust_domain.clone())?);
    tasks.spawn("token-keys", verifier.clone().run());
    Ok(Some(verifier))
}
