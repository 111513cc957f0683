//! The namespaces whose Secrets one stream's proxy may list.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::select_all;
use mesh_api::identity::SpiffeId;
use tokio::sync::watch;

use crate::access::{Questions, Verdict, denial};

/// What a stream follows.
pub(super) struct Readable {
    questions: Questions,
    /// Who asks; a node that is merely believed reads no Secrets.
    account: Option<SpiffeId>,
    followed: BTreeMap<Arc<str>, watch::Receiver<Verdict>>,
}

impl Readable {
    pub(super) fn new(questions: Questions, account: Option<SpiffeId>) -> Self {
        Self {
            questions,
            account,
            followed: BTreeMap::new(),
        }
    }

    /// Follows the answers for these namespaces and no others.
    pub(super) fn follow(&mut self, namespaces: &BTreeSet<Arc<str>>) {
        let Some(account) = &self.account else { return };
        self.followed
            .retain(|namespace, _| namespaces.contains(namespace));
        for namespace in namespaces {
            if !self.followed.contains_key(namespace)
                && let Some(verdict) = self.questions.follow(account, namespace)
            {
                self.followed.insert(Arc::clone(namespace), verdict);
            }
        }
    }

    /// Whether every answer is there and [`Self::namespaces`] has returned it.
    pub(super) fn is_settled(&self) -> bool {
        let mut followed = self.followed.values();
        followed.all(|verdict| {
            *verdict.borrow() != Verdict::Pending && !verdict.has_changed().unwrap_or(false)
        })
    }

    /// The namespaces that the proxy may read.
    pub(super) fn namespaces(&mut self) -> BTreeSet<Arc<str>> {
        let followed = self.followed.iter_mut();
        let allowed = followed.filter_map(|(namespace, verdict)| {
            let allowed = *verdict.borrow_and_update() == Verdict::Allowed;
            allowed.then(|| Arc::clone(namespace))
        });
        allowed.collect()
    }

    /// Resolves when an answer differs from what [`Self::namespaces`] returned.
    pub(super) async fn changed(&mut self) {
        if self.followed.is_empty() {
            return pending().await;
        }
        let changes = self.followed.values_mut().map(|verdict| {
            async {
                // At the end of the control plane nothing changes any more.
                if verdict.changed().await.is_err() {
                    pending::<()>().await;
                }
            }
            .boxed()
        });
        select_all(changes).await;
    }

    /// Why some of the credentials are not sent.
    pub(super) fn denials(&self) -> Vec<String> {
        let Some(account) = &self.account else {
            return Vec::new();
        };
        let followed = self.followed.iter();
        let denied = followed.filter(|(_, verdict)| *verdict.borrow() == Verdict::Denied);
        denied
            .map(|(namespace, _)| denial(account, namespace))
            .collect()
    }
}
