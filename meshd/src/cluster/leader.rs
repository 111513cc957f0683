//! Leader election on a Lease, for writers only: readers serve from every replica.
//!
//! A replica leads from the moment it has seen itself in the Lease until anything goes wrong. An error while
//! renewing ends its lead at once, long before another replica may take the lease, so two never write at a
//! time. On a stop signal the lease is given back, and the next leader need not wait for its end.

use std::convert::Infallible;
use std::time::Duration;

use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};
use mesh_runtime::backoff::Backoff;
use mesh_runtime::drain;
use tokio::sync::watch;

/// Seconds that a lease lasts without renewal.
const LEASE_SECONDS: u64 = 15;

/// Seconds before its end at which a lease is renewed; the request may take less than half of it.
const GRACE_SECONDS: u64 = 10;

/// First and longest pause after an error.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// A candidate for one lease.
pub(crate) struct Election {
    client: Client,
    namespace: String,
    lease: String,
    identity: String,
    leads: watch::Sender<bool>,
}

impl Election {
    /// A candidate under `identity`, and whether it leads.
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        lease: String,
        identity: &str,
    ) -> (Self, watch::Receiver<bool>) {
        let (sender, leads) = watch::channel(false);
        let election = Self {
            client,
            namespace: namespace.to_owned(),
            lease,
            identity: identity.to_owned(),
            leads: sender,
        };
        (election, leads)
    }

    /// Runs for the lease until the drain begins; then gives it back.
    pub(crate) async fn run(self, drain: drain::Watch) -> Result<(), Infallible> {
        let mut retry = Backoff::new(RETRY.0, RETRY.1);
        loop {
            let term = tokio::select! {
                term = self.term(&drain, &mut retry) => term,
                () = drain.signaled() => return Ok(()),
            };
            self.publish(false);
            if drain.is_draining() {
                return Ok(());
            }
            if let Err(error) = term {
                tracing::warn!(lease = self.lease, %error, "the lease cannot be held, trying again");
                retry.wait().await;
            }
        }
    }

    /// Follows the lease until an error, or until the drain begins.
    ///
    /// After an error the manager is thrown away: a new one reports the lead again once it has seen it.
    async fn term(
        &self,
        drain: &drain::Watch,
        retry: &mut Backoff,
    ) -> Result<(), kube_lease_manager::LeaseManagerError> {
        let manager = self.manager().await?;
        loop {
            tokio::select! {
                leads = manager.changed() => {
                    self.publish(leads?);
                    retry.reset();
                }
                () = drain.signaled() => {
                    self.publish(false);
                    return manager.release().await;
                }
            }
        }
    }

    async fn manager(&self) -> Result<LeaseManager, kube_lease_manager::LeaseManagerError> {
        LeaseManagerBuilder::new(self.client.clone(), &self.lease)
            .with_namespace(&self.namespace)
            .with_identity(&self.identity)
            .with_duration(LEASE_SECONDS)
            .with_grace(GRACE_SECONDS)
            .build()
            .await
    }

    fn publish(&self, leads: bool) {
        let changed = self.leads.send_if_modified(|current| {
            let changed = *current != leads;
            *current = leads;
            changed
        });
        if changed {
            tracing::info!(lease = self.lease, leads, "leader election");
        }
    }
}

/// Runs `work` anew in each term as leader; a term's end drops it in the middle of whatever it does.
pub(crate) async fn while_leading<W>(mut leads: watch::Receiver<bool>, work: impl Fn() -> W)
where
    W: Future<Output = ()>,
{
    loop {
        if leads.wait_for(|leads| *leads).await.is_err() {
            return;
        }
        let mut term = leads.clone();
        tokio::select! {
            () = work() => {}
            _ = term.wait_for(|leads| !*leads) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Running(Arc<AtomicUsize>);

    impl Drop for Running {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn work_runs_in_terms_only_and_is_dropped_at_their_ends() {
        let (leads, receiver) = watch::channel(false);
        let running = Arc::new(AtomicUsize::new(0));
        let counter = running.clone();
        let task = tokio::spawn(while_leading(receiver, move || {
            let counter = counter.clone();
            async move {
                counter.fetch_add(1, Ordering::SeqCst);
                let _running = Running(counter);
                std::future::pending::<()>().await;
            }
        }));
        // With time paused, a sleep lets every other task run until it waits.
        let settle = || tokio::time::sleep(Duration::from_millis(1));
        for (lead, expected) in [(false, 0), (true, 1), (false, 0), (true, 1)] {
            leads.send_replace(lead);
            settle().await;
            assert_eq!(running.load(Ordering::SeqCst), expected, "{lead}");
        }
        drop(leads);
        task.abort();
    }
}
