//! Writes statuses and events, one after the other, while this replica leads.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use ::kube::Client;
use ::kube::api::{Api, DynamicObject, Patch, PatchParams};
use ::kube::runtime::events::Recorder;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::report::{Report, Reports};
use super::{FIELD_MANAGER, condition, event, gateway_class, infrastructure};
use crate::store::DocumentKey;

/// When to try again what the API server could not take.
const RETRY: Duration = Duration::from_secs(5);

/// Keeps the status of all objects up to date.
pub struct StatusWriter {
    client: Client,
    reports: watch::Receiver<Arc<Reports>>,
    leader: watch::Receiver<bool>,
    recorder: Recorder,
    /// What was written, or refused for good, and does not show in the reports yet.
    written: BTreeMap<DocumentKey, Value>,
    /// What was written for Gateways.
    made: BTreeMap<DocumentKey, [Value; 3]>,
    /// Versions (uid and generation) for which there is an event.
    announced: BTreeMap<DocumentKey, (String, i64)>,
}

/// Nobody says any more who leads, or what there is to write.
struct Ended;

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
        loop {
            let reports = self.reports.borrow_and_update().clone();
            let done = self.write_all(&reports).await;
            tokio::select! {
                changed = self.reports.changed() => changed.map_err(|_| Ended)?,
                () = sleep(RETRY), if !done => {}
            }
        }
    }

    /// Returns false if something is left to be tried again.
    async fn write_all(&mut self, reports: &Reports) -> bool {
        let objects = &reports.by_object;
        self.written.retain(|key, _| objects.contains_key(key));
        self.made.retain(|key, _| objects.contains_key(key));
        self.announced.retain(|key, _| objects.contains_key(key));
        let mut done = true;
        if reports.class_missing
            && let Err(error) = gateway_class::create(&self.client).await
        {
            // Not a reason to leave all objects without status.
            tracing::warn!(%error, "cannot make the GatewayClass, will try again");
            done = false;
        }
        for (key, report) in objects {
            let written = self.write(key, report).await;
            let made = self.make(key, report, &reports.revision).await;
            let announced = self.announce(key, report).await;
            if let Err(error) = written.and(made).and(announced) {
                tracing::warn!(object = %key.object, %error, "cannot write status, will try again");
                return false;
            }
        }
        done
    }

    async fn write(&mut self, key: &DocumentKey, report: &Report) -> Result<(), ::kube::Error> {
        let Some(status) = condition::outdated(report, Timestamp::now()) else {
            self.written.remove(key);
            return Ok(());
        };
        let pending = self.written.get(key);
        if pending.is_some_and(|pending| condition::is_same(&status, pending)) {
            return Ok(());
        }
        match self.patch(key, report, &status).await {
            Err(::kube::Error::Api(refusal)) if is_final(refusal.code) => {
                tracing::warn!(object = %key.object, error = %refusal, "status refused");
            }
            other => other?,
        }
        self.written.insert(key.clone(), status);
        Ok(())
    }

    /// Writes what a Gateway needs, when it has changed or somebody else leads now.
    async fn make(
        &mut self,
        key: &DocumentKey,
        report: &Report,
        revision: &str,
    ) -> Result<(), ::kube::Error> {
        let feedback = report.feedback.as_ref();
        let Some(needed) = feedback.and_then(|feedback| feedback.infrastructure.as_ref()) else {
            self.made.remove(key);
            return Ok(());
        };
        let objects = infrastructure::objects(needed, report, revision);
        if self.made.get(key) == Some(&objects) {
            return Ok(());
        }
        for object in &objects {
            match infrastructure::apply(&self.client, object).await {
                Err(::kube::Error::Api(refusal)) if is_final(refusal.code) => {
                    tracing::warn!(gateway = %key.object, error = %refusal, "cannot make its proxy");
                }
                other => other?,
            }
        }
        self.made.insert(key.clone(), objects);
        Ok(())
    }

    async fn patch(
        &self,
        key: &DocumentKey,
        report: &Report,
        status: &Value,
    ) -> Result<(), ::kube::Error> {
        let version = report.api_version.rsplit('/').next().unwrap_or_default();
        let resource = report.kind.resource(version);
        let client = self.client.clone();
        let namespace = &key.object.namespace;
        let api: Api<DynamicObject> = match report.kind.is_cluster_wide() {
            true => Api::all_with(client, &resource),
            false => Api::namespaced_with(client, namespace, &resource),
        };
        let name = &*key.object.name;
        let patch = json!({
            "apiVersion": report.api_version,
            "kind": report.kind.name(),
            "metadata": {"name": name},
            "status": status,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        api.patch_status(name, &params, &Patch::Apply(patch))
            .await
            .map(drop)
    }

    async fn announce(&mut self, key: &DocumentKey, report: &Report) -> Result<(), ::kube::Error> {
        if !report.refused {
            self.announced.remove(key);
            return Ok(());
        }
        let version = (report.observed.uid.clone(), report.observed.generation);
        if self.announced.get(key) == Some(&version) {
            return Ok(());
        }
        match event::quarantined(&self.recorder, key, report).await {
            Err(::kube::Error::Api(refusal)) if is_final(refusal.code) => {
                tracing::warn!(object = %key.object, error = %refusal, "event refused");
            }
            other => other?,
        }
        self.announced.insert(key.clone(), version);
        Ok(())
    }
}

/// Asking again would give the same answer.
fn is_final(code: u16) -> bool {
    matches!(code, 400..=499) && code != 429
}
