//! Citadel as this process needs it: the CA, who may call, and our own certificates.

use std::sync::Arc;

use anyhow::Context as _;
use citadel::authenticate::jwks::TokenVerifier;
use citadel::authenticate::token_review::TokenReviewer;
use citadel::authenticate::{Authenticator, Tokens};
use citadel::ca::directory::CaDirectory;
use citadel::ca::secret::{ANNOUNCEMENT, CaSecrets};
use citadel::ca::{CaConfig, rotation};
use citadel::issue::Lifetimes;
use citadel::metrics::Metrics;
use citadel::serving::{ClientAuth, ServingOptions, ServingTls};
use citadel::{Ca, Clock};
use mesh_api::identity::TrustDomain;
use mesh_runtime::metrics::Registry;
use mesh_runtime::task::Tasks;

use crate::args::Args;
use crate::cluster::Cluster;

/// The authority and what hangs on it.
pub(crate) struct Authority {
    pub(crate) ca: Arc<Ca>,
    pub(crate) authenticator: Authenticator,
    /// For discovery and signing: clients may show a certificate of the mesh.
    pub(crate) xds_tls: Arc<ServingTls>,
    /// For webhooks: the API server shows a certificate only where it is configured to.
    pub(crate) webhook_tls: Arc<ServingTls>,
}

/// Opens the CA and keeps it, the token keys and our certificates fresh in `tasks`.
pub(crate) async fn open(
    args: &Args,
    cluster: Option<&Cluster>,
    trust_domain: TrustDomain,
    registry: &mut Registry,
    tasks: &Tasks,
) -> anyhow::Result<Authority> {
    let metrics = Metrics::default();
    metrics.register(registry);
    let lifetimes = Lifetimes {
        default: args.workload_ttl.try_into().context("--workload-ttl")?,
        ..Lifetimes::default()
    };
    let config = CaConfig {
        trust_domain: trust_domain.clone(),
        lifetimes,
        // In a directory the roots are where everybody sees them at once.
        announcement: match cluster {
            Some(_) => ANNOUNCEMENT,
            None => time::Duration::ZERO,
        },
        clock: Clock::system(),
    };
    let ca = open_ca(args, cluster, config, metrics, tasks).await?;
    let tokens = match cluster {
        Some(cluster) => {
            let (client, domain) = (cluster.client.clone(), trust_domain.clone());
            Tokens::Reviewed(Arc::new(TokenReviewer::new(
                client,
                domain,
                Clock::system(),
            )))
        }
        None => token_keys(args, &trust_domain, tasks)?,
    };
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
            args.webhook_clients(),
            &[b"h2", b"http/1.1"],
        )?,
        authenticator: Authenticator::new(trust_domain, tokens, Clock::system()),
        ca,
    })
}

/// From Secrets in a cluster, from a directory elsewhere; both are followed.
async fn open_ca(
    args: &Args,
    cluster: Option<&Cluster>,
    config: CaConfig,
    metrics: Metrics,
    tasks: &Tasks,
) -> anyhow::Result<Arc<Ca>> {
    if let Some(cluster) = cluster {
        let secrets = CaSecrets::new(cluster.client.clone(), &cluster.args.namespace);
        let ca = Arc::new(secrets.open(config, metrics).await?);
        let leads = cluster.leads.mesh.clone();
        tasks.spawn("ca-rotation", secrets.follow(ca.clone(), leads));
        return Ok(ca);
    }
    let path = args.ca_dir.as_deref().context("--ca-dir is missing")?;
    let directory = CaDirectory::new(path);
    let ca = Arc::new(directory.open(config, metrics)?);
    tasks.spawn("ca-rotation", rotation::run(directory, ca.clone()));
    Ok(ca)
}

fn token_keys(args: &Args, trust_domain: &TrustDomain, tasks: &Tasks) -> anyhow::Result<Tokens> {
    let (Some(path), Some(issuer)) = (&args.jwks_file, &args.token_issuer) else {
        tracing::warn!("no --jwks-file: service-account tokens are refused");
        return Ok(Tokens::Refused);
    };
    let verifier = Arc::new(TokenVerifier::open(path, issuer, trust_domain.clone())?);
    tasks.spawn("token-keys", verifier.clone().run());
    Ok(Tokens::Keys(verifier))
}
