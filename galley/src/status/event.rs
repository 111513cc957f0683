//! Kubernetes events for objects that were refused.

use ::kube::Client;
use ::kube::runtime::events::{Event, EventType, Recorder, Reporter};
use k8s_openapi::api::core::v1::ObjectReference;

use super::report::Report;
use super::{FIELD_MANAGER, condition};
use crate::store::DocumentKey;

/// The limit of the API server for `note`.
const NOTE_BYTES_MAX: usize = 1024;

/// Publishes as `weft-galley`; equal events become one series.
pub(super) fn recorder(client: Client, instance: String) -> Recorder {
    let reporter = Reporter {
        controller: FIELD_MANAGER.to_owned(),
        instance: Some(instance),
    };
    Recorder::new(client, reporter)
}

/// Says that an object's newest version is not in force.
pub(super) async fn quarantined(
    recorder: &Recorder,
    key: &DocumentKey,
    report: &Report,
) -> Result<(), ::kube::Error> {
    let mut note = condition::text(&report.diagnostics);
    note.truncate(note.floor_char_boundary(NOTE_BYTES_MAX));
    let event = Event {
        type_: EventType::Warning,
        reason: "Quarantined".to_owned(),
        note: Some(note),
        action: "Validate".to_owned(),
        secondary: None,
    };
    let namespace = match report.kind.is_cluster_wide() {
        true => None,
        false => Some(key.object.namespace.to_string()),
    };
    let reference = ObjectReference {
        api_version: Some(report.api_version.clone()),
        kind: Some(report.kind.name().to_owned()),
        name: Some(key.object.name.to_string()),
        namespace,
        uid: Some(report.observed.uid.clone()),
        ..ObjectReference::default()
    };
    recorder.publish(&event, &reference).await
}
