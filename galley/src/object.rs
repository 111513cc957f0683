//! One object between its text and the model: identified, decoded, checked.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use mesh_api::diagnostic::{Diagnostic, Severity};
use mesh_api::resource::{Meta, ResourceKey};

use crate::decode::decode;
use crate::decode::finding::{Finding, code};
use crate::kind::{Handling, Kind, handling};
use crate::kinds::{Context, Model};
use crate::manifest::Document;
use crate::manifest::path::FieldPath;
use crate::work::Budget;

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
    let model = kind.read(document, meta.as_ref(), context, &mut findings);
    // Rules that found no steps left have judged nothing.
    if let Err(exhausted) = context.budget.check() {
        let finding = Finding::error(code::SCHEMA, String::new(), exhausted.to_string());
        findings.push(finding.at(document.node.position));
    }
    let model = model.filter(|_| !findings.iter().any(Finding::is_error));
    let stand_in = match (&model, &meta) {
        (None, Some(meta)) => kind.stand_in(meta, document),
        _ => None,
    };
    let object = |model| {
        let (meta, document) = (meta.clone()?, document.clone());
        Some(Object {
            meta,
            model,
            document,
        })
    };
    let (object, stand_in) = (model.and_then(object), stand_in.and_then(object));
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
