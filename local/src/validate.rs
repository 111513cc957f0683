//! What a manifest may say, checked once before anything is done with it.
//!
//! Kubernetes' API server refuses names, keys and paths that could lead out of a directory; here they
//! become parts of file names as well, so the same rules hold (`validate/name.rs`), for every object that
//! comes from a file, from `apply` or from the injection webhook. Only fields that local pods use are
//! looked at; the mesh's own kinds are galley's.

mod name;
mod pod;
mod position;

use std::fmt;

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, StatefulSet},
    core::v1::{Pod, PodTemplateSpec},
};
use serde::Deserialize;
use serde_json::Value;

pub(crate) use self::position::Positions;
use crate::manifest::ObjectKey;

/// Kinds whose names Kubernetes only keeps out of URLs.
const ACCESS_CONTROL: &str = "rbac.authorization.k8s.io";

/// Where in an object something is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Field(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl Field {
    /// The field of an object at `keys`, one inside the other.
    fn of(keys: &[&str]) -> Self {
        Self(
            keys.iter()
                .map(|key| Step::Key((*key).to_owned()))
                .collect(),
        )
    }

    fn key(&self, key: &str) -> Self {
        let step = Step::Key(key.to_owned());
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    fn index(&self, index: usize) -> Self {
        Self(self.0.iter().cloned().chain([Step::Index(index)]).collect())
    }

    /// The same field of an item in a list.
    pub(crate) fn in_item(&self, index: usize) -> Self {
        let item = [Step::Key("items".to_owned()), Step::Index(index)];
        Self(item.into_iter().chain(self.0.iter().cloned()).collect())
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain =
            |key: &str| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if !plain(key) => write!(f, "[{key:?}]")?,
                Step::Key(key) if position == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

/// A field that is not used as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which.
    pub field: Field,
    /// What is wrong with it, and what to write instead.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.0.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Collects problems.
#[derive(Debug, Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn check(&mut self, field: Field, outcome: Result<(), String>) {
        if let Err(message) = outcome {
            self.0.push(Problem { field, message });
        }
    }
}

/// What is wrong with an object of this identity.
pub fn object(key: &ObjectKey, value: &Value) -> Vec<Problem> {
    let mut problems = Problems::default();
    identity(key, &mut problems);
    match key.kind.as_str() {
        "ConfigMap" => data_keys(value, &["data", "binaryData"], &mut problems),
        "Secret" => data_keys(value, &["data", "stringData"], &mut problems),
        kind => match template(kind, value) {
            Ok(Some((field, template))) => pod::template(&template, &field, &mut problems),
            Ok(None) => {}
            Err(error) => problems.check(Field::default(), Err(error.to_string())),
        },
    }
    problems.0
}

/// What is wrong with a pod, wherever it comes from.
pub fn pod(pod: &Pod) -> Vec<Problem> {
    let mut problems = Problems::default();
    let spec = pod.spec.clone().unwrap_or_default();
    pod::spec(&spec, &Field::of(&["spec"]), &mut problems);
    problems.0
}

/// Group, kind, namespace and name become file names, host names and parts of identities.
fn identity(key: &ObjectKey, problems: &mut Problems) {
    if !key.group.is_empty() {
        let group = name::dns_subdomain(&key.group);
        problems.check(Field::of(&["apiVersion"]), group);
    }
    problems.check(Field::of(&["kind"]), name::kind(&key.kind));
    if !key.namespace.is_empty() {
        let namespace = name::dns_label(&key.namespace);
        problems.check(Field::of(&["metadata", "namespace"]), namespace);
    }
    let checked = match (key.group.as_str(), key.kind.as_str()) {
        ("", "Namespace" | "Service") => name::dns_label(&key.name),
        (ACCESS_CONTROL, _) => name::path_segment(&key.name),
        _ => name::dns_subdomain(&key.name),
    };
    problems.check(Field::of(&["metadata", "name"]), checked);
}

fn data_keys(value: &Value, maps: &[&str], problems: &mut Problems) {
    for map in maps {
        let keys = value[*map].as_object().into_iter().flatten();
        for (key, _) in keys {
            problems.check(Field::of(&[map]).key(key), name::data_key(key));
        }
    }
}

/// The pods that a workload makes, and where it says so.
fn template(
    kind: &str,
    value: &Value,
) -> Result<Option<(Field, PodTemplateSpec)>, serde_json::Error> {
    let template = match kind {
        "Deployment" => Deployment::deserialize(value)?.spec.template,
        "StatefulSet" => StatefulSet::deserialize(value)?.spec.template,
        "DaemonSet" => DaemonSet::deserialize(value)?.spec.template,
        "Pod" => {
            let pod = Pod::deserialize(value)?;
            let template = PodTemplateSpec {
                metadata: Some(pod.metadata),
                spec: pod.spec,
            };
            return Ok(Some((Field::default(), template)));
        }
        _ => return Ok(None),
    };
    Ok(Some((Field::of(&["spec", "template"]), template)))
}

#[cfg(test)]
mod tests;
