//! The authority in force: signs for identities, publishes its roots, follows its directory.
//!
//! Readers take the current [`KeyCertBundle`] by an atomic load; a change swaps the whole. Roots are also
//! published through a `watch` channel, which the assembly copies to where proxies read them.

pub mod key_cert_bundle;

pub mod plugged_in;

pub mod rotation;

pub mod self_signed;

use std::path::{Path, PathBuf};
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

/// Where the CA lives and what it grants.
#[derive(Clone, Debug)]
pub struct CaConfig {
    /// The CA directory.
    pub directory: PathBuf,
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
    #[error("the CA in \"{}\" cannot be used", directory.display())]
    Bundle {
        /// The CA directory.
        directory: PathBuf,
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
    /// Reads the CA from its directory, or makes a self-signed one there if there is none.
    pub fn open(config: CaConfig, metrics: Metrics) -> Result<Self, CaError> {
        let now = config.clock.now();
        let files = match plugged_in::read(&config.directory)? {
            Some(files) => files,
            None => {
                let files = self_signed::create(config.trust_domain.as_str(), now)
                    .map_err(CaError::SelfSign)?;
                plugged_in::write(&config.directory, &files)?;
                tracing::info!(directory = %config.directory.display(), "made a self-signed root");
                files
            }
        };
        let in_force = check(&config, files)?;
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

    /// Its directory.
    pub fn directory(&self) -> &Path {
        &self.config.directory
    }

    /// The clock it signs by.
    pub fn clock(&self) -> &Clock {
        &self.config.clock
    }

    /// Its counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Takes over what is in the directory if it changed and passes every check; says whether it did.
    ///
    /// Missing files are an error here: the CA in force stays.
    pub fn reload(&self) -> Result<bool, CaError> {
        let Some(files) = plugged_in::read(&self.config.directory)? else {
            return Ok(false);
        };
        if files == self.in_force.load().files {
            return Ok(false);
        }
        self.replace(check(&self.config, files)?);
        Ok(true)
    }

    /// Renews a self-signed root that is in the last part of its life.
    pub fn renew_if_due(&self) -> Result<(), CaError> {
        let in_force = self.in_force.load();
        let now = self.config.clock.now();
        let bundle = &in_force.bundle;
        if !bundle.is_self_signed() || !self_signed::is_due(bundle.not_after(), now) {
            return Ok(());
        }
        let organization = self.config.trust_domain.as_str();
        let files =
            self_signed::renew(&in_force.files, organization, now).map_err(CaError::SelfSign)?;
        let renewed = check(&self.config, files.clone())?;
        plugged_in::write(&self.config.directory, &files)?;
        self.replace(renewed);
        tracing::info!("renewed the self-signed root");
        Ok(())
    }

    fn replace(&self, in_force: InForce) {
        self.metrics.observe_ca(&in_force.bundle);
        let roots = Arc::new(in_force.bundle.trust_bundle().clone());
        // Roots first: whoever sees a certificate of the new CA finds its root published.
        self.roots.send_replace(roots);
        self.in_force.store(Arc::new(in_force));
        tracing::info!("the CA was replaced");
    }
}

fn check(config: &CaConfig, files: CaFiles) -> Result<InForce, CaError> {
    let bundle = KeyCertBundle::from_files(&files, config.clock.now()).map_err(|source| {
        CaError::Bundle {
            directory: config.directory.clone(),
            source,
        }
    })?;
    Ok(InForce { files, bundle })
}

#[cfg(test)]
mod tests;
