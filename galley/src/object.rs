//! One object between its text and the model: identified, decoded, checked.

use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::api::rbac::v1 as rbac;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use mesh_api::diagnostic::{Diagnostic, Severity};
use mesh_api::resource::{Meta, ResourceKey};
use serde::de::DeserializeOwned;

use crate::decode::decode;
use crate::decode::finding::{FINDINGS_MAX, Finding, code, quoted};
use crate::decode::suggest::did_you_mean;
use crate::kind::{Handling, Kind, handling};
use crate::manifest::Document;
use crate::manifest::node::Value;
use crate::manifest::path::FieldPath;
use crate::normalize::{Context, Model, normalize};
use crate::validate::{Findings, validate};
use crate::work::Budget;
use crate::{crd, kinds};

/// A decoded object of a kind that is part of the model.
#[derive(Debug, Clone)]
pub struct Object {
    /// Name, place, age, labels.
    pub meta: Meta,
    /// As meant. The wire struct is not kept.
    pub model: Model,
    /// The text, for positions of later findings.
    pub document: Arc<Document>,
}

/// The wire struct of an object, while it is read.
#[derive(Debug, Clone)]
#[allow(dead_code, reason = "read once every kind is registered in `kinds`")]
pub(crate) enum Spec {
    ConfigMap(Arc<core::ConfigMap>),
    Namespace(Arc<core::Namespace>),
    Node(Arc<core::Node>),
    Secret(Arc<core::Secret>),
    ServiceAccount(Arc<core::ServiceAccount>),
    Pod(Arc<core::Pod>),
    Service(Arc<core::Service>),
    EndpointSlice(Arc<EndpointSlice>),
    Role(Arc<rbac::Role>),
    ClusterRole(Arc<rbac::ClusterRole>),
    RoleBinding(Arc<rbac::RoleBinding>),
    ClusterRoleBinding(Arc<rbac::ClusterRoleBinding>),
    Ingress(Arc<networking::Ingress>),
    IngressClass(Arc<networking::IngressClass>),
    GatewayClass(Arc<crd::gateway_api::GatewayClass>),
    KubernetesGateway(Arc<crd::gateway_api::Gateway>),
    HttpRoute(Arc<crd::gateway_api::HttpRoute>),
    GrpcRoute(Arc<crd::gateway_api::GrpcRoute>),
    TlsRoute(Arc<crd::gateway_api::TlsRoute>),
    TcpRoute(Arc<crd::gateway_api::TcpRoute>),
    ReferenceGrant(Arc<crd::gateway_api::ReferenceGrant>),
    Gateway(Arc<crd::gateway::Gateway>),
    VirtualService(Arc<crd::virtual_service::VirtualService>),
    DestinationRule(Arc<crd::destination_rule::DestinationRule>),
    Sidecar(Arc<crd::sidecar::Sidecar>),
}

/// What reading one document gave.
#[derive(Debug)]
pub struct Reading {
    /// The object's name, if it has one and its kind is part of the model.
    pub key: Option<ResourceKey>,
    /// The object, if nothing is wrong with it.
    pub object: Option<Object>,
    /// What stands in for a refused security policy as long as no good version of
    /// it is known.
    pub stand_in: Option<Object>,
    /// Everything there is to say.
    pub diagnostics: Vec<Diagnostic>,
    /// Steps that reading it took (see [`crate::work`]).
    pub steps: u64,
    /// States of the programs of its expressions.
    pub program_states: u64,
}

impl Reading {
    /// What there is to say about something that is no object of the model.
    fn of(diagnostics: Vec<Diagnostic>) -> Self {
        Self {
            key: None,
            object: None,
            stand_in: None,
            diagnostics,
            steps: 0,
            program_states: 0,
        }
    }
}

/// Reads a document. `context` is the mesh that defaults are taken from.
pub fn read(document: &Arc<Document>, context: &Context<'_>) -> Reading {
    let kind = match handling(document.api_version(), document.kind()) {
        Handling::Model(kind) => kind,
        Handling::PassedOver => return Reading::of(Vec::new()),
        refused => return refuse(document, refused),
    };
    let (meta, mut findings) = metadata(document, kind, context.budget);
    let key = meta.as_ref().map(|meta| meta.key.clone());
    let object = match kinds::read(kind, document, meta.as_ref(), context, &mut findings) {
        Some(model) => meta.clone().zip(model).map(|(meta, model)| Object {
            meta,
            model,
            document: document.clone(),
        }),
        None => {
            let (spec, faults) = decode_spec(document, kind, context.budget);
            findings.extend(faults);
            match (&meta, spec) {
                (Some(meta), Some(spec)) => {
                    check(meta.clone(), spec, document, context, &mut findings)
                }
                _ => None,
            }
        }
    };
    // Rules that found no steps left have judged nothing.
    if let Err(exhausted) = context.budget.check() {
        let finding = Finding::error(code::SCHEMA, String::new(), exhausted.to_string());
        findings.push(finding.at(document.node.position));
    }
    let object = object.filter(|_| !findings.iter().any(Finding::is_error));
    let stand_in = match (&object, &meta) {
        (None, Some(meta)) => kinds::stand_in(kind, meta, document).map(|model| Object {
            meta: meta.clone(),
            model,
            document: document.clone(),
        }),
        _ => None,
    };
    findings.sort_by_key(|finding| finding.position);
    let diagnostics = findings
        .into_iter()
        .map(|f| document.diagnostic(f, key.clone()))
        .collect();
    Reading {
        key,
        object,
        stand_in,
        diagnostics,
        steps: context.budget.spent(),
        program_states: context.budget.program_states(),
    }
}

/// Validates, and normalises what is valid.
fn check(
    meta: Meta,
    spec: Spec,
    document: &Arc<Document>,
    context: &Context<'_>,
    findings: &mut Vec<Finding>,
) -> Option<Object> {
    let mut checked = Findings::new(&document.node, context.budget);
    validate(&meta, &spec, context, &mut checked);
    let valid = !checked.has_errors();
    findings.extend(checked.into_vec());
    if !valid {
        return None;
    }
    match normalize(&meta, &spec, document, context) {
        Ok(model) => Some(Object {
            meta,
            model,
            document: document.clone(),
        }),
        Err(fault) => {
            findings
                .push(Finding::error(code::SCHEMA, fault.path, fault.message).at(fault.position));
            None
        }
    }
}

fn metadata(document: &Document, kind: Kind, budget: &Budget) -> (Option<Meta>, Vec<Finding>) {
    let path = FieldPath::ROOT.field("metadata");
    let Some(node) = document.node.get("metadata") else {
        return (None, vec![missing_name(document)]);
    };
    let (decoded, mut findings) = decode::<ObjectMeta>(node, &path, budget);
    let name = document.name();
    if name.is_empty() {
        // A name of the wrong type has been reported already.
        if !findings
            .iter()
            .any(|finding| finding.path == "metadata.name")
        {
            findings.push(missing_name(document));
        }
        return (None, findings);
    }
    let namespace = match kind.is_cluster_wide() {
        true => "",
        false => document.namespace().unwrap_or("default"),
    };
    // An object whose metadata has faults still needs its name: it is the key
    // under which its last good version is kept.
    let decoded = decoded.unwrap_or_default();
    let meta = Meta {
        key: ResourceKey::new(kind.model_name(), namespace, name),
        origin: document.origin(),
        creation_seconds: decoded
            .creation_timestamp
            .map_or(0, |time| time.0.as_second()),
        labels: decoded.labels.unwrap_or_default().into_iter().collect(),
        annotations: decoded
            .annotations
            .unwrap_or_default()
            .into_iter()
            .collect(),
    };
    (Some(meta), findings)
}

fn missing_name(document: &Document) -> Finding {
    let path = FieldPath::ROOT.field("metadata");
    let position = path.position_in(&document.node);
    Finding::error(
        code::SCHEMA,
        path.field("name").to_string(),
        "an object needs a name",
    )
    .at(position)
}

fn decode_spec(document: &Document, kind: Kind, budget: &Budget) -> (Option<Spec>, Vec<Finding>) {
    match kind {
        Kind::ConfigMap => kubernetes(document, budget, Spec::ConfigMap),
        Kind::Namespace => kubernetes(document, budget, Spec::Namespace),
        Kind::Node => kubernetes(document, budget, Spec::Node),
        Kind::Secret => kubernetes(document, budget, Spec::Secret),
        Kind::ServiceAccount => kubernetes(document, budget, Spec::ServiceAccount),
        Kind::Pod => kubernetes(document, budget, Spec::Pod),
        Kind::Service => kubernetes(document, budget, Spec::Service),
        Kind::EndpointSlice => kubernetes(document, budget, Spec::EndpointSlice),
        Kind::Role => kubernetes(document, budget, Spec::Role),
        Kind::ClusterRole => kubernetes(document, budget, Spec::ClusterRole),
        Kind::RoleBinding => kubernetes(document, budget, Spec::RoleBinding),
        Kind::ClusterRoleBinding => kubernetes(document, budget, Spec::ClusterRoleBinding),
        Kind::Ingress => kubernetes(document, budget, Spec::Ingress),
        Kind::IngressClass => kubernetes(document, budget, Spec::IngressClass),
        Kind::GatewayClass => custom(document, budget, Spec::GatewayClass),
        Kind::KubernetesGateway => custom(document, budget, Spec::KubernetesGateway),
        Kind::HttpRoute => custom(document, budget, Spec::HttpRoute),
        Kind::GrpcRoute => custom(document, budget, Spec::GrpcRoute),
        Kind::TlsRoute => custom(document, budget, Spec::TlsRoute),
        Kind::TcpRoute => custom(document, budget, Spec::TcpRoute),
        Kind::ReferenceGrant => custom(document, budget, Spec::ReferenceGrant),
        Kind::Gateway => custom(document, budget, Spec::Gateway),
        Kind::VirtualService => custom(document, budget, Spec::VirtualService),
        Kind::DestinationRule => custom(document, budget, Spec::DestinationRule),
        Kind::Sidecar => custom(document, budget, Spec::Sidecar),
        _ => (None, Vec::new()),
    }
}

/// Kubernetes kinds have their fields at the top, and metadata was read before.
fn kubernetes<T: DeserializeOwned>(
    document: &Document,
    budget: &Budget,
    wrap: fn(Arc<T>) -> Spec,
) -> (Option<Spec>, Vec<Finding>) {
    let (value, mut findings) = decode::<T>(&document.node, &FieldPath::ROOT, budget);
    let valid = findings.is_empty();
    findings.retain(|finding| !finding.path.starts_with("metadata."));
    (
        value.filter(|_| valid).map(|value| wrap(Arc::new(value))),
        findings,
    )
}

/// Custom resources are `metadata`, `spec` and a `status` that is not ours to read.
fn custom<T: DeserializeOwned + Default>(
    document: &Document,
    budget: &Budget,
    wrap: fn(Arc<T>) -> Spec,
) -> (Option<Spec>, Vec<Finding>) {
    const FIELDS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
    let mut findings = Vec::new();
    if let Value::Map(entries) = &document.node.value {
        let unknown = entries
            .iter()
            .filter(|entry| !FIELDS.contains(&entry.key.as_str()));
        for entry in unknown.clone().take(FINDINGS_MAX) {
            let message = format!("unknown field {}", quoted(&entry.key));
            let path = FieldPath::ROOT.field(&entry.key).to_string();
            let mut finding = Finding::error(code::SCHEMA, path, message).at(entry.key_position);
            finding.suggestion = did_you_mean(&entry.key, &FIELDS)
                .or_else(|| Some("fields of the kind belong under \"spec\"".to_owned()));
            findings.push(finding);
        }
        let more = unknown.skip(FINDINGS_MAX).count();
        if let Some(last) = findings.last().filter(|_| more > 0) {
            findings.push(last.more(more));
        }
    }
    let path = FieldPath::ROOT.field("spec");
    let value = match document.node.get("spec") {
        Some(node) if node.value != Value::Null => {
            let (value, faults) = decode::<T>(node, &path, budget);
            findings.extend(faults);
            value
        }
        _ => Some(T::default()),
    };
    (value.map(|value| wrap(Arc::new(value))), findings)
}

fn refuse(document: &Document, handling: Handling) -> Reading {
    let kind = document.kind();
    let api_version = document.api_version();
    let at = |field: &'static str| FieldPath::ROOT.field(field).position_in(&document.node);
    let error = |field: &'static str, code, message| {
        Finding::error(code, field.to_owned(), message).at(at(field))
    };
    let finding = match handling {
        Handling::NotSupported { security } => {
            let message = format!("kind {kind} of {api_version} is not supported yet");
            let mut finding = error("kind", code::NOT_SUPPORTED, message);
            if !security {
                finding.severity = Severity::Warning;
            }
            finding
        }
        Handling::UnknownVersion(served) => error(
            "apiVersion",
            code::UNKNOWN_KIND,
            format!("kind {kind} is not served as {api_version}"),
        )
        .suggest(format!("served versions: {}", served.join(", "))),
        Handling::UnknownKind(meant) => {
            let finding = error(
                "kind",
                code::UNKNOWN_KIND,
                format!("there is no kind {kind} in {api_version}"),
            );
            match meant {
                Some(meant) => finding.suggest(format!("did you mean \"{meant}\"?")),
                None => finding,
            }
        }
        Handling::Model(_) | Handling::PassedOver => return Reading::of(Vec::new()),
    };
    Reading::of(vec![document.diagnostic(finding, None)])
}
