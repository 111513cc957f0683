//! All secrets of the process, and the TLS contexts that are built from them.
//!
//! The control thread is the only writer: static secrets from the bootstrap, `default` and `ROOTCA` from the
//! agent, the rest from SDS. A context registers the names it needs; setting a secret rebuilds the contexts
//! that named it before the call returns, so that a configuration published afterwards finds them ready.
//! Contexts are held weakly: one that left the configuration is forgotten, and with it its interest.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use tokio::sync::watch;

use super::secret::{Certificate, Secret, Validation};
use crate::config::secret::SecretRef;

/// The store. Clones share it.
#[derive(Clone)]
pub struct SecretStore {
    inner: Arc<Mutex<Inner>>,
    interest: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    secrets: BTreeMap<SecretRef, Entry>,
    dependents: BTreeMap<SecretRef, Vec<Weak<dyn Dependent>>>,
}

/// One secret in force.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The secret.
    pub secret: Secret,
    /// The version that the server gave, or `static`.
    pub version: Arc<str>,
    /// When it was set.
    pub updated: SystemTime,
    /// True if the bootstrap defines it: never asked for by SDS.
    pub is_static: bool,
}

/// A context that is made of secrets.
pub(super) trait Dependent: Send + Sync {
    /// Builds the context anew from what `secrets` has.
    fn rebuild(&self, secrets: &Secrets<'_>);
}

/// The secrets in force, as a context sees them while it is built.
pub(super) struct Secrets<'a>(&'a BTreeMap<SecretRef, Entry>);

impl Secrets<'_> {
    pub(super) fn certificate(&self, name: &SecretRef) -> Option<Arc<Certificate>> {
        match &self.0.get(name)?.secret {
            Secret::Certificate(certificate) => Some(certificate.clone()),
            Secret::Validation(_) => None,
        }
    }

    pub(super) fn validation(&self, name: &SecretRef) -> Option<Arc<Validation>> {
        match &self.0.get(name)?.secret {
            Secret::Validation(validation) => Some(validation.clone()),
            Secret::Certificate(_) => None,
        }
    }
}

impl Default for SecretStore {
    fn default() -> Self {
        Self::new()
    }
}

impl SecretStore {
    /// A store without secrets.
    pub fn new() -> Self {
        Self {
            inner: Arc::default(),
            interest: watch::Sender::new(0),
        }
    }

    /// Sets a secret and rebuilds the contexts that name it.
    pub fn set(&self, name: SecretRef, secret: Secret, version: Arc<str>) {
        self.insert(name, secret, version, false);
    }

    /// Sets a secret of the bootstrap's `static_resources`.
    pub fn set_static(&self, name: &str, secret: Secret) {
        let name = SecretRef {
            name: name.into(),
            from_agent: false,
        };
        self.insert(name, secret, "static".into(), true);
    }

    fn insert(&self, name: SecretRef, secret: Secret, version: Arc<str>, is_static: bool) {
        let mut inner = self.lock();
        inner.secrets.insert(
            name.clone(),
            Entry {
                secret,
                version,
                updated: SystemTime::now(),
                is_static,
            },
        );
        inner.rebuild(&name);
        drop(inner);
        self.notify();
    }

    /// Removes a secret: contexts that name it refuse connections from now on.
    pub fn remove(&self, name: &SecretRef) {
        let mut inner = self.lock();
        if inner.secrets.remove(name).is_some() {
            inner.rebuild(name);
        }
        drop(inner);
        self.notify();
    }

    /// Names that contexts in use need and that are not defined statically, sorted.
    pub fn wanted(&self) -> Vec<SecretRef> {
        let mut inner = self.lock();
        inner.forget_dropped();
        let Inner {
            secrets,
            dependents,
        } = &*inner;
        let is_static = |name: &SecretRef| secrets.get(name).is_some_and(|entry| entry.is_static);
        dependents
            .keys()
            .filter(|name| !is_static(name))
            .cloned()
            .collect()
    }

    /// Whether a secret is there.
    pub fn contains(&self, name: &SecretRef) -> bool {
        self.lock().secrets.contains_key(name)
    }

    /// The secret in force under a name.
    pub fn get(&self, name: &SecretRef) -> Option<Secret> {
        Some(self.lock().secrets.get(name)?.secret.clone())
    }

    /// Everything in force, for the admin pages.
    pub fn entries(&self) -> Vec<(SecretRef, Entry)> {
        let inner = self.lock();
        inner
            .secrets
            .iter()
            .map(|(name, entry)| (name.clone(), entry.clone()))
            .collect()
    }

    /// Changes whenever a secret is set or removed, or a new context registers.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.interest.subscribe()
    }

    /// Builds a context for the first time and again whenever one of `names` changes.
    pub(super) fn register<D: Dependent + 'static>(&self, names: &[SecretRef], context: &Arc<D>) {
        let mut inner = self.lock();
        context.rebuild(&Secrets(&inner.secrets));
        if names.is_empty() {
            return;
        }
        let weak = Arc::downgrade(context);
        for name in names {
            let dependents = inner.dependents.entry(name.clone()).or_default();
            dependents.retain(|dependent| dependent.strong_count() > 0);
            dependents.push(weak.clone());
        }
        drop(inner);
        self.notify();
    }

    fn notify(&self) {
        self.interest.send_modify(|generation| *generation += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while rebuilding leaves the maps themselves whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn rebuild(&mut self, name: &SecretRef) {
        let Some(dependents) = self.dependents.get(name) else {
            return;
        };
        for context in dependents.iter().filter_map(Weak::upgrade) {
            context.rebuild(&Secrets(&self.secrets));
        }
    }

    fn forget_dropped(&mut self) {
        self.dependents.retain(|_, dependents| {
            dependents.retain(|dependent| dependent.strong_count() > 0);
            !dependents.is_empty()
        });
    }
}

impl fmt::Debug for SecretStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.lock();
        f.debug_struct("SecretStore")
            .field("secrets", &inner.secrets.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
