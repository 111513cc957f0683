//! The authority in force: signs for identities, publishes its roots, takes over what replaces it.
//!
//! Readers take the current [`KeyCertBundle`] by an atomic load; a change swaps the whole. Roots are also
//! published through a `watch` channel, which the assembly copies to where proxies read them. Where the CA is
//! kept is the business of [`directory`] and [`secret`].
//!
//! New roots are announced before anything is signed under them: where proxies learn of roots with a delay,
//! a CA that signed at once would issue certificates that others do not accept yet.

pub mod key_cert_bundle;

pub mod plugged_in;

pub mod directory;

pub mod secret;

pub mod rotation;

pub mod self_signed;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use mesh_api::identity::{SpiffeId, TrustDomain};
use mesh_runtime::file_watch::WatchError;
use rcgen::PublicKeyData;
use thiserror::Error;
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::clock::Clock;
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
    /// How long new roots are announced before anything is signed under them.
    pub announcement: time::Duration,
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
    /// What will be in force once its roots are known.
    announced: Mutex<Option<Announced>>,
    roots: watch::Sender<Arc<TrustBundle>>,
    metrics: Metrics,
}

#[derive(Debug)]
struct Announced {
    since: OffsetDateTime,
    in_force: InForce,
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
            announced: Mutex::default(),
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

    /// Takes over files of `origin` if they differ and pass every check; says whether they differ.
    ///
    /// Where they bring roots that nobody knows, these are announced first, see [`settle`](Self::settle).
    pub fn take_over(&self, origin: &str, files: CaFiles) -> Result<bool, CaError> {
        let mut announced = self.announced();
        if announced
            .as_ref()
            .is_some_and(|announced| announced.in_force.files == files)
            || (announced.is_none() && self.is_in_force(&files))
        {
            return Ok(false);
        }
        let in_force = check(&self.config, origin, files)?;
        let known = self.trust_bundle();
        let united = known.united(in_force.bundle.trust_bundle());
        if announced.is_none() && (united == *known || self.config.announcement.is_zero()) {
            drop(announced);
            self.replace(in_force);
            return Ok(true);
        }
        tracing::info!(origin, "announcing the roots of another CA");
        *announced = Some(Announced {
            since: self.config.clock.now(),
            in_force,
        });
        self.roots.send_replace(Arc::new(united));
        Ok(true)
    }

    /// Signs with what was announced long enough.
    pub fn settle(&self) {
        let mut announced = self.announced();
        let is_due = |announced: &mut Announced| {
            self.config.clock.now() - announced.since >= self.config.announcement
        };
        let settled = announced.take_if(is_due);
        drop(announced);
        if let Some(settled) = settled {
            self.replace(settled.in_force);
        }
    }

    /// How long until there is something to [`settle`](Self::settle).
    pub fn settles_in(&self) -> Option<std::time::Duration> {
        let announced = self.announced();
        let due = announced.as_ref()?.since + self.config.announcement;
        let left = due - self.config.clock.now();
        Some(left.try_into().unwrap_or_default())
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
        let roots = in_force.bundle.trust_bundle().clone();
        let old = self.trust_bundle();
        if !old.roots().iter().any(|root| roots.roots().contains(root)) {
            tracing::warn!(
                "none of the former roots is trusted any more: certificates under them fail until renewed"
            );
        }
        // Roots first: whoever sees a certificate of the new CA finds its root published. And last, since
        // who follows the roots gets certificates of the CA in force.
        self.roots.send_replace(Arc::new(old.united(&roots)));
        self.in_force.store(Arc::new(in_force));
        self.roots.send_replace(Arc::new(roots));
        tracing::info!("the CA was replaced");
    }

    fn announced(&self) -> MutexGuard<'_, Option<Announced>> {
        // It is only ever replaced as a whole.
        self.announced
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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
