//! A CA that is kept in Secrets of the control plane's namespace, for any number of replicas.
//!
//! `cacerts` is the operator's own CA and wins; without it `istio-ca-secret` holds a self-signed root.
//! Whoever finds neither makes one: creation is atomic, so of several replicas that try, one wins and the
//! others read. After that all follow the Secrets; a replica in the lead renews a self-signed root, and only
//! against the version that it has seen. A Secret that vanishes changes nothing until the next start.
//!
//! Differs from Istio: a CA that is plugged in later takes over without a restart, once its roots had time to
//! reach every proxy.

mod files;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use thiserror::Error;
use tokio::sync::watch;

use self::files::{MissingKey, from_secret, to_secret};
use super::key_cert_bundle::CaFiles;
use super::rotation::CHECK_INTERVAL;
use super::{Ca, CaConfig, CaError, self_signed};
use crate::metrics::Metrics;

/// The Secret of the CA that citadel makes for itself.
pub const SELF_SIGNED: &str = "istio-ca-secret";

/// The Secret of a CA that the operator brings.
pub const PLUGGED_IN: &str = "cacerts";

/// How long roots may take to every proxy: through the ConfigMap of its namespace, which a kubelet looks at
/// once in a minute or two.
pub const ANNOUNCEMENT: time::Duration = time::Duration::minutes(3);

/// Why the CA cannot be read, made or renewed.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The API server refused or was away.
    #[error("cannot {verb} Secret \"{name}\"")]
    Api {
        /// What was tried.
        verb: &'static str,
        /// Of which Secret.
        name: &'static str,
        /// Why it failed.
        #[source]
        source: kube::Error,
    },
    /// A Secret is not complete.
    #[error("Secret \"{name}\" is not a CA")]
    Incomplete {
        /// Of which Secret.
        name: &'static str,
        /// What it lacks.
        #[source]
        source: MissingKey,
    },
    /// The CA cannot be used.
    #[error(transparent)]
    Ca(#[from] CaError),
}

/// The Secrets of a CA.
#[derive(Clone, Debug)]
pub struct CaSecrets {
    secrets: Api<Secret>,
}

impl CaSecrets {
    /// The CA in `namespace`.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            secrets: Api::namespaced(client, namespace),
        }
    }

    /// Reads the CA, or makes a self-signed one if there is none.
    ///
    /// # Errors
    /// When the Secrets cannot be read or do not make a usable CA.
    pub async fn open(&self, config: CaConfig, metrics: Metrics) -> Result<Ca, SecretError> {
        for name in [PLUGGED_IN, SELF_SIGNED] {
            if let Some(files) = self.read(name).await? {
                return Ok(Ca::new(config, name, files, metrics)?);
            }
        }
        let files = self.make(&config).await?;
        Ok(Ca::new(config, SELF_SIGNED, files, metrics)?)
    }

    /// Hands every change to `ca`, and renews a self-signed root while `leads`, until dropped.
    pub async fn follow(self, ca: Arc<Ca>, leads: watch::Receiver<bool>) -> Result<(), Infallible> {
        let mut plugged_in = Box::pin(self.watch(PLUGGED_IN));
        let mut self_signed = Box::pin(self.watch(SELF_SIGNED));
        let mut seen = BTreeMap::new();
        let mut check = tokio::time::interval(CHECK_INTERVAL);
        loop {
            let settles = ca.settles_in();
            tokio::select! {
                Some(secret) = plugged_in.next() => note(&mut seen, PLUGGED_IN, secret),
                Some(secret) = self_signed.next() => note(&mut seen, SELF_SIGNED, secret),
                () = tokio::time::sleep(settles.unwrap_or_default()), if settles.is_some() => {
                    ca.settle();
                    continue;
                }
                _ = check.tick() => {}
            }
            let leads = *leads.borrow();
            if let Err(error) = self.step(&ca, &mut seen, leads).await {
                ca.metrics().reload_errors.inc();
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the CA in the Secrets cannot be used, the one in force stays"
                );
            }
        }
    }

    /// Takes over what is there, and renews it if it is ours to renew.
    async fn step(&self, ca: &Ca, seen: &mut Seen, leads: bool) -> Result<(), SecretError> {
        let first = [PLUGGED_IN, SELF_SIGNED]
            .into_iter()
            .find_map(|name| Some((name, seen.get(name)?)));
        let Some((name, Some(secret))) = first else {
            return Ok(());
        };
        let files = from_secret(secret).map_err(incomplete(name))?;
        ca.take_over(name, files)?;
        if name == SELF_SIGNED
            && leads
            && let Some(renewed) = self.renew_if_due(ca, secret).await?
        {
            // The watch will tell the same; until it does, the former version must not come back.
            seen.insert(name, Some(renewed));
        }
        Ok(())
    }

    /// The Secret after a renewal.
    async fn renew_if_due(&self, ca: &Ca, secret: &Secret) -> Result<Option<Secret>, SecretError> {
        let Some(files) = ca.renewal()? else {
            return Ok(None);
        };
        let mut renewed = to_secret(SELF_SIGNED, &files);
        // With the version that was seen: whoever changed the Secret since then was first.
        renewed.metadata = secret.metadata.clone();
        renewed.type_.clone_from(&secret.type_);
        let params = PostParams::default();
        let replaced = self.secrets.replace(SELF_SIGNED, &params, &renewed).await;
        let replaced = replaced.map_err(failed("renew", SELF_SIGNED))?;
        ca.take_over(SELF_SIGNED, files)?;
        tracing::info!("renewed the self-signed root");
        Ok(Some(replaced))
    }

    async fn read(&self, name: &'static str) -> Result<Option<CaFiles>, SecretError> {
        let secret = self.secrets.get_opt(name).await;
        let Some(secret) = secret.map_err(failed("read", name))? else {
            return Ok(None);
        };
        from_secret(&secret).map(Some).map_err(incomplete(name))
    }

    async fn make(&self, config: &CaConfig) -> Result<CaFiles, SecretError> {
        let files = self_signed::create(config.trust_domain.as_str(), config.clock.now())
            .map_err(CaError::SelfSign)?;
        let secret = to_secret(SELF_SIGNED, &files);
        match self.secrets.create(&PostParams::default(), &secret).await {
            Ok(_) => {
                tracing::info!(secret = SELF_SIGNED, "made a self-signed root");
                Ok(files)
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let there = self.read(SELF_SIGNED).await?;
                there.ok_or_else(|| failed("read", SELF_SIGNED)(kube::Error::Api(status)))
            }
            Err(error) => Err(failed("create", SELF_SIGNED)(error)),
        }
    }

    /// The Secret now and after every change; errors of the watch are retried for ever.
    fn watch(&self, name: &'static str) -> impl Stream<Item = Option<Secret>> + Send + use<> {
        watcher::watch_object(self.secrets.clone(), name)
            .default_backoff()
            .filter_map(move |secret| async move {
                secret
                    .inspect_err(|error| {
                        tracing::warn!(secret = name, %error, "watching the CA failed, retrying");
                    })
                    .ok()
            })
    }
}

/// The Secrets as they were last seen; `None` is one that was there. It keeps its place, so that a plugged-in CA
/// that vanishes does not bring back the self-signed one.
type Seen = BTreeMap<&'static str, Option<Secret>>;

fn note(seen: &mut Seen, name: &'static str, secret: Option<Secret>) {
    if secret.is_some() {
        seen.insert(name, secret);
    } else if let Some(gone) = seen.get_mut(name)
        && gone.take().is_some()
    {
        tracing::warn!(
            secret = name,
            "the CA's Secret was deleted, the CA in force stays until the next start"
        );
    }
}

fn failed(verb: &'static str, name: &'static str) -> impl FnOnce(kube::Error) -> SecretError {
    move |source| SecretError::Api { verb, name, source }
}

fn incomplete(name: &'static str) -> impl FnOnce(MissingKey) -> SecretError {
    move |source| SecretError::Incomplete { name, source }
}

#[cfg(test)]
mod tests;
