//! The authority in force: signs for identities, publishes its roots, takes over what replaces it.
//!
//! Readers take the current [`KeyCertBundle`] by an atomic load; a change swaps the whole. Roots are also
//! published through a `watch` channel, which the assembly copies to where proxies read them. Where the CA is
//! kept is the business of [`directory`] and [`secret`].

pub mod key_cert_bundle;

pub mod plugged_in;

pub mod directory;

pub mod secret;

pub mod rotation;

pub mod self_signed;

use std::sync::Arc;

use arc_swap::ArcSwap;
use mesh_api::identity::{SpiffeId, TrustDomain};
use rcgen::PublicKeyData;
use thiserror::Error;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::file_watch::WatchError;
use crate::issue::{self, IssueError, Issued, Lifetimes};
use crate::metrics::Metrics;
use crate::trust_bundle::TrustBundle;
use key_cert_bundle::{CaFiles, KeyCertBundle, KeyCertBundleError};
use plugged_in::FileError;

/// For whom the CA signs and what it grants.
#[derive(Clone, Debug)]
pub struct CaConfig {
    /// The trust domain of every identity it signs.
    pub trust_domain: TrustDomain,
    /// How long certificates live.
    pub lifetimes: Lifetimes,
    /// Tells the time.
    pub clock: Clock,
}

/// Why the CA cannot start or change.
#[derive(Debug, Error)]
pub enum CaError {
    /// The directory cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The files do not make a usable CA.
    #[error("the CA in \"{origin}\" cannot be used")]
    Bundle {
        /// The directory or Secret.
        origin: String,
        /// What is wrong.
        #[source]
        source: KeyCertBundleError,
    },
    /// No root could be made.
    #[error("no self-signed root could be made")]
    SelfSign(#[source] rcgen::Error),
    /// Changes would go unnoticed.
    #[error(transparent)]
    Watch(#[from] WatchError),
}

/// The certificate authority.
#[derive(Debug)]
pub struct Ca {
    config: CaConfig,
    in_force: ArcSwap<InForce>,
    roots: watch::Sender<Arc<TrustBundle>>,
    metrics: Metrics,
}

#[derive(Debug)]
struct InForce {
    files: CaFiles,
    bundle: KeyCertBundle,
}

impl Ca {
    /// A CA of these files, which come from `origin`.
    pub fn new(
        config: CaConfig,
        origin: &str,
        files: CaFiles,
        metrics: Metrics,
    ) -> Result<Self, CaError> {
        let in_force = check(&config, origin, files)?;
        let roots = Arc::new(in_force.bundle.trust_bundle().clone());
        metrics.observe_ca(&in_force.bundle);
        Ok(Self {
            config,
            in_force: ArcSwap::from_pointee(in_force),
            roots: watch::Sender::new(roots),
            metrics,
        })
    }

    /// A certificate for `identity` over `public_key`, for `ttl` or the default lifetime.
    pub fn issue_workload(
        &self,
        identity: &SpiffeId,
        public_key: &impl PublicKeyData,
        ttl: Option<time::Duration>,
    ) -> Result<Issued, IssueError> {
        let in_force = self.in_force.load();
        let lifetime = self.config.lifetimes.grant(ttl);
        issue::workload(
            &in_force.bundle,
            identity,
            public_key,
            lifetime,
            self.config.clock.now(),
        )
    }

    /// A certificate for a server of the control plane under the given DNS names or addresses.
    pub fn issue_server(
        &self,
        names: &[String],
        public_key: &impl PublicKeyData,
    ) -> Result<Issued, IssueError> {
        let in_force = self.in_force.load();
        let lifetime = self.config.lifetimes.grant(None);
        issue::server(
            &in_force.bundle,
            names,
            public_key,
            lifetime,
            self.config.clock.now(),
        )
    }

    /// The roots in force and every later set.
    pub fn trust_bundles(&self) -> watch::Receiver<Arc<TrustBundle>> {
        self.roots.subscribe()
    }

    /// The roots in force.
    pub fn trust_bundle(&self) -> Arc<TrustBundle> {
        self.roots.borrow().clone()
    }

    /// The trust domain of every identity it signs.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.config.trust_domain
    }

    /// The clock it signs by.
    pub fn clock(&self) -> &Clock {
        &self.config.clock
    }

    /// Its counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Takes over files of `origin` if they differ and pass every check; says whether it did.
    pub fn take_over(&self, origin: &str, files: CaFiles) -> Result<bool, CaError> {
        if files == self.in_force.load().files {
            return Ok(false);
        }
        self.replace(check(&self.config, origin, files)?);
        Ok(true)
    }

    /// The files of a renewed root, if the one in force is self-signed and in the last part of its life.
    ///
    /// They must be kept where the CA is before they are taken over.
    pub fn renewal(&self) -> Result<Option<CaFiles>, CaError> {
        let in_force = self.in_force.load();
        let now = self.config.clock.now();
        let bundle = &in_force.bundle;
        if !bundle.is_self_signed() || !self_signed::is_due(bundle.not_after(), now) {
            return Ok(None);
        }
        self_signed::renew(&in_force.files, self.config.trust_domain.as_str(), now)
            .map(Some)
            .map_err(CaError::SelfSign)
    }

    /// Whether `files` are those in force.
    pub fn is_in_force(&self, files: &CaFiles) -> bool {
        self.in_force.load().files == *files
    }

    fn replace(&self, in_force: InForce) {
        self.metrics.observe_ca(&in_force.bundle);
        let roots = Arc::new(in_force.bundle.trust_bundle().clone());
        let old = self.trust_bundle();
        if !old.roots().iter().any(|root| roots.roots().contains(root)) {
            tracing::warn!(
                "none of the former roots is trusted any more: certificates under them fail until renewed"
            );
        }
        // Roots first: whoever sees a certificate of the new CA finds its root published.
        self.roots.send_replace(roots);
        self.in_force.store(Arc::new(in_force));
        tracing::info!("the CA was replaced");
    }
}

fn check(config: &CaConfig, origin: &str, files: CaFiles) -> Result<InForce, CaError> {
    let bundle = KeyCertBundle::from_files(&files, config.clock.now()).map_err(|source| {
        CaError::Bundle {
            origin: origin.to_owned(),
            source,
        }
    })?;
    Ok(InForce { files, bundle })
}

#[cfg(test)]
mod tests;
