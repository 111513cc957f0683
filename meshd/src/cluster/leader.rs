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
            let term = self.term(&drain, &mut retry).await;
            self.publish(false);
            if let Err(error) = term {
                tracing::warn!(lease = self.lease, %error, "the lease cannot be held");
            }
            tokio::select! {
                () = retry.wait() => {}
                () = drain.signaled() => return Ok(()),
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
        let manager = tokio::select! {
            manager = self.manager() => manager?,
            () = drain.signaled() => return Ok(()),
        };
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
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use http::{Method, Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};
    use tower_test::mock;

    use super::*;
    use crate::cluster::test_api::{Answer, Seen, serve};

    /// An API server with room for one Lease.
    #[derive(Clone, Default)]
    struct LeaseServer {
        lease: Arc<Mutex<Option<Value>>>,
        is_away: Arc<AtomicBool>,
    }

    impl LeaseServer {
        fn answer(&self, request: &Seen) -> Answer {
            if self.is_away.load(Ordering::SeqCst) {
                return Answer::Status(500, "InternalError", "etcd has no leader");
            }
            let mut lease = self.lease.lock().unwrap();
            if request.method != Method::GET {
                let mut written = lease.take().unwrap_or(json!({}));
                json_patch::merge(&mut written, &request.body);
                *lease = Some(written);
            }
            match &*lease {
                Some(lease) => Answer::Ok(lease.clone()),
                None => Answer::Status(404, "NotFound", "leases \"istio-leader\" not found"),
            }
        }

        fn holder(&self) -> Value {
            let lease = self.lease.lock().unwrap();
            lease.as_ref().unwrap_or(&json!({}))["spec"]["holderIdentity"].clone()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_ends_the_lead_and_a_stop_gives_the_lease_back() {
        let (service, handle) = mock::pair::<Request<Body>, Response<Body>>();
        let server = LeaseServer::default();
        let answering = server.clone();
        let _writes = serve(handle, move |request| answering.answer(request));
        let client = Client::new(service, "default");
        let lease = "istio-leader".to_owned();
        let (election, mut leads) = Election::new(client, "istio-system", lease, "istiod-1");
        let (signal, drain) = drain::channel();
        let running = tokio::spawn(election.run(drain));

        leads.wait_for(|leads| *leads).await.unwrap();
        assert_eq!(server.holder(), "istiod-1");
        server.is_away.store(true, Ordering::SeqCst);
        leads.wait_for(|leads| !*leads).await.unwrap();
        server.is_away.store(false, Ordering::SeqCst);
        leads.wait_for(|leads| *leads).await.unwrap();

        signal.start();
        running.await.unwrap().unwrap();
        assert!(!*leads.borrow());
        assert_eq!(server.holder(), Value::Null);
    }

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
