//! Writes statuses and events, and makes the proxies of Gateways, while this replica leads.
//!
//! Several objects are written at once, those that changed last first, so that a new
//! object's status does not wait for thousands of others. Proxies have a queue of their
//! own, since they serve and a status only tells.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use ::kube::Client;
use ::kube::runtime::events::Recorder;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::queue::Queue;
use super::report::{Report, Reports};
use super::{condition, event, gateway_class, infrastructure, patch};
use crate::store::DocumentKey;

/// When to try again what the API server could not take.
const RETRY: Duration = Duration::from_secs(5);

/// Statuses that are written at once: enough to hide the API server's latency, and few enough that a small one answers
/// others meanwhile.
const STATUSES_MAX: usize = 24;

/// Gateways whose proxies are made at once.
const PROXIES_MAX: usize = 8;

/// Objects that are looked at in a row.
const LOOKS_MAX: usize = 64;

/// Objects that are remembered though they are gone, before they are looked for.
const FORGOTTEN_MAX: usize = 1024;

/// Keeps the status of all objects up to date.
pub struct StatusWriter {
    client: Client,
    reports: watch::Receiver<Arc<Reports>>,
    leader: watch::Receiver<bool>,
    recorder: Recorder,
    /// What was written, or refused for good, and does not show in the reports yet: uid and status.
    written: BTreeMap<DocumentKey, (String, Value)>,
    /// What was written for Gateways.
    made: BTreeMap<DocumentKey, [Value; 3]>,
    /// Versions (uid and generation) for which there is an event.
    announced: BTreeMap<DocumentKey, (String, i64)>,
}

/// Nobody says any more who leads, or what there is to write.
struct Ended;

/// Something to be done about an object.
type Work = BoxFuture<'static, (Job, Result<Done, ::kube::Error>)>;

/// What is done about what.
enum Job {
    Status(DocumentKey),
    Proxy(DocumentKey),
    Class,
}

/// What has been done.
#[derive(Default)]
struct Done {
    status: Option<(String, Value)>,
    announced: Option<(String, i64)>,
    made: Option<[Value; 3]>,
}

/// What waits and what is being done while this replica leads.
struct Lead {
    reports: Arc<Reports>,
    statuses: Queue<DocumentKey>,
    proxies: Queue<DocumentKey>,
    running: FuturesUnordered<Work>,
    class_is_due: bool,
    retry_at: Option<Instant>,
}

impl StatusWriter {
    /// A writer that writes while `leader` is true. `instance` is the name of this
    /// replica's pod, for events.
    pub fn new(
        client: Client,
        reports: watch::Receiver<Arc<Reports>>,
        leader: watch::Receiver<bool>,
        instance: String,
    ) -> Self {
        Self {
            recorder: event::recorder(client.clone(), instance),
            client,
            reports,
            leader,
            written: BTreeMap::new(),
            made: BTreeMap::new(),
            announced: BTreeMap::new(),
        }
    }

    /// Runs until `shutdown` is cancelled or galley has ended.
    ///
    /// # Errors
    /// None; the type is what supervised tasks return.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Infallible> {
        shutdown.run_until_cancelled(self.follow()).await;
        Ok(())
    }

    async fn follow(&mut self) -> Result<(), Ended> {
        let mut leader = self.leader.clone();
        loop {
            leader.wait_for(|leads| *leads).await.map_err(|_| Ended)?;
            // Whoever led before may have had other ideas.
            self.made.clear();
            let lost = async {
                let mut leader = leader.clone();
                leader.wait_for(|leads| !*leads).await.map(drop)
            };
            tokio::select! {
                ended = self.lead() => return ended,
                // Dropping the work ends it before another replica begins.
                lost = lost => lost.map_err(|_| Ended)?,
            }
        }
    }

    /// Writes what is new until the lead is lost.
    async fn lead(&mut self) -> Result<(), Ended> {
        let mut lead = Lead::new();
        lead.take_over(self.reports.borrow_and_update().clone());
        loop {
            let more = self.start(&mut lead);
            tokio::select! {
                () = yield_now(), if more => {}
                changed = self.reports.changed() => {
                    changed.map_err(|_| Ended)?;
                    lead.take_over(self.reports.borrow_and_update().clone());
                    self.forget(&lead.reports);
                }
                Some((job, done)) = lead.running.next() => self.finish(&mut lead, job, done),
                () = sleep_until(lead.retry_at.unwrap_or_else(Instant::now)), if lead.retry_at.is_some() => {
                    lead.retry();
                }
            }
        }
    }

    /// Starts what there is room for. True if there may be more: to look at thousands of objects takes a while, and
    /// others wait for the thread.
    fn start(&mut self, lead: &mut Lead) -> bool {
        if std::mem::take(&mut lead.class_is_due) {
            let client = self.client.clone();
            let work = async move {
                let made = gateway_class::create(&client).await;
                (Job::Class, made.map(|()| Done::default()))
            };
            lead.running.push(Box::pin(work));
        }
        for _ in 0..LOOKS_MAX {
            let reports = &lead.reports;
            if let Some(key) = lead.proxies.take() {
                let report = reports.get(&key);
                match report.and_then(|report| self.proxy(&key, report, reports)) {
                    Some(work) => lead.running.push(work),
                    None => lead.proxies.done(key),
                }
            } else if let Some(key) = lead.statuses.take() {
                let report = reports.get(&key);
                match report.and_then(|report| self.status(&key, report)) {
                    Some(work) => lead.running.push(work),
                    None => lead.statuses.done(key),
                }
            } else {
                return false;
            }
        }
        true
    }

    /// The status and the event that are to be written for an object, if any.
    fn status(&mut self, key: &DocumentKey, report: &Arc<Report>) -> Option<Work> {
        let status = self.outdated(key, report);
        let announced = self.unannounced(key, report);
        if status.is_none() && announced.is_none() {
            return None;
        }
        let (client, recorder) = (self.client.clone(), self.recorder.clone());
        let (key, report) = (key.clone(), report.clone());
        Some(Box::pin(async move {
            let mut done = Done::default();
            let mut written = Ok(());
            if let Some(status) = status {
                written = patch::status(&client, &key, &report, &status).await;
                if written.is_ok() {
                    done.status = Some((report.observed.uid.clone(), status));
                }
            }
            if let Some(version) = announced.filter(|_| written.is_ok()) {
                written = patch::accept(event::quarantined(&recorder, &key, &report).await, &key);
                if written.is_ok() {
                    done.announced = Some(version);
                }
            }
            (Job::Status(key), written.map(|()| done))
        }))
    }

    fn outdated(&mut self, key: &DocumentKey, report: &Report) -> Option<Value> {
        let Some(status) = condition::outdated(report, Timestamp::now()) else {
            self.written.remove(key);
            return None;
        };
        let pending = self.written.get(key);
        let is_written = pending.is_some_and(|(uid, pending)| {
            *uid == report.observed.uid && condition::is_same(&status, pending)
        });
        (!is_written).then_some(status)
    }

    fn unannounced(&mut self, key: &DocumentKey, report: &Report) -> Option<(String, i64)> {
        if !report.refused {
            self.announced.remove(key);
            return None;
        }
        let version = (report.observed.uid.clone(), report.observed.generation);
        (self.announced.get(key) != Some(&version)).then_some(version)
    }

    /// What a Gateway needs, when it has changed or somebody else leads now.
    fn proxy(&mut self, key: &DocumentKey, report: &Report, reports: &Reports) -> Option<Work> {
        let feedback = report.feedback.as_ref();
        let Some(needed) = feedback.and_then(|feedback| feedback.infrastructure.as_ref()) else {
            self.made.remove(key);
            return None;
        };
        let objects = infrastructure::objects(needed, report, &reports.revision);
        if self.made.get(key) == Some(&objects) {
            return None;
        }
        let (client, key) = (self.client.clone(), key.clone());
        Some(Box::pin(async move {
            let mut made = Ok(());
            for object in &objects {
                let applied = infrastructure::apply(&client, object).await;
                made = patch::accept(applied, &key);
                if made.is_err() {
                    break;
                }
            }
            let done = Done {
                made: Some(objects),
                ..Done::default()
            };
            (Job::Proxy(key), made.map(|()| done))
        }))
    }

    fn finish(&mut self, lead: &mut Lead, job: Job, done: Result<Done, ::kube::Error>) {
        match (job, done) {
            (Job::Status(key), Ok(done)) => {
                if let Some(status) = done.status {
                    self.written.insert(key.clone(), status);
                }
                if let Some(version) = done.announced {
                    self.announced.insert(key.clone(), version);
                }
                lead.statuses.done(key);
            }
            (Job::Proxy(key), Ok(done)) => {
                if let Some(made) = done.made {
                    self.made.insert(key.clone(), made);
                }
                lead.proxies.done(key);
            }
            (Job::Class, Ok(_)) => {}
            (job, Err(error)) => lead.fail(job, &error),
        }
    }

    /// Forgets objects that are gone, once they are many.
    fn forget(&mut self, reports: &Reports) {
        let known = self
            .written
            .len()
            .max(self.made.len())
            .max(self.announced.len());
        if known > reports.len() + FORGOTTEN_MAX {
            self.written.retain(|key, _| reports.get(key).is_some());
            self.made.retain(|key, _| reports.get(key).is_some());
            self.announced.retain(|key, _| reports.get(key).is_some());
        }
    }
}

impl Lead {
    fn new() -> Self {
        Self {
            reports: Arc::default(),
            statuses: Queue::new(STATUSES_MAX),
            proxies: Queue::new(PROXIES_MAX),
            running: FuturesUnordered::new(),
            class_is_due: false,
            retry_at: None,
        }
    }

    /// Queues what is different in newer reports.
    fn take_over(&mut self, reports: Arc<Reports>) {
        self.class_is_due |= reports.class_missing && !self.reports.class_missing;
        for (key, report) in reports.since(&self.reports) {
            if report.feedback.is_some() {
                self.proxies.push(key.clone());
            }
            self.statuses.push(key.clone());
        }
        self.reports = reports;
    }

    fn fail(&mut self, job: Job, error: &::kube::Error) {
        match job {
            Job::Status(key) => {
                tracing::warn!(object = %key.object, %error, "cannot write status, will try again");
                self.statuses.failed(key);
            }
            Job::Proxy(key) => {
                tracing::warn!(gateway = %key.object, %error, "cannot make its proxy, will try again");
                self.proxies.failed(key);
            }
            Job::Class => tracing::warn!(%error, "cannot make the GatewayClass, will try again"),
        }
        let later = Instant::now() + RETRY;
        self.retry_at.get_or_insert(later);
    }

    fn retry(&mut self) {
        self.retry_at = None;
        self.class_is_due = self.reports.class_missing;
        self.statuses.retry();
        self.proxies.retry();
    }
}
