//! The audit log of an API server: one JSON object for each request, with the authorizer's decision.

use std::fmt;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Permission, role_of, text};

/// A request that was decided upon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Who sent it.
    pub user: String,
    /// What was to be done.
    pub verb: String,
    /// The API group, "" for the core.
    pub group: String,
    /// The resource, with its subresource.
    pub resource: String,
    /// The object; empty where it is none in particular.
    pub name: String,
    /// The role that allows it, as [`role_of`] names it.
    pub allowed_by: Option<String>,
    /// Whether the authorizer refused it. What admission refuses was allowed.
    pub forbidden: bool,
    /// Whether it made the object.
    pub created: bool,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            user,
            verb,
            group,
            resource,
            name,
            ..
        } = self;
        let group = if group.is_empty() { "core" } else { group };
        write!(f, "{user}: {verb} {group}/{resource} \"{name}\"")
    }
}

impl Request {
    /// The requests of a log.
    pub fn read_all(log: &str) -> Result<Vec<Self>> {
        let lines = log.lines().filter(|line| !line.is_empty());
        lines
            .map(|line| {
                let event = serde_json::from_str(line);
                let event = event.with_context(|| format!("not an audit event: {line}"))?;
                Ok(Self::of(&event))
            })
            .collect()
    }

    fn of(event: &Value) -> Self {
        const CREATED: u64 = 201;
        let object = &event["objectRef"];
        let resource = match &object["subresource"] {
            Value::Null => text(&object["resource"]).to_owned(),
            subresource => format!("{}/{}", text(&object["resource"]), text(subresource)),
        };
        let annotations = &event["annotations"];
        Self {
            user: text(&event["user"]["username"]).to_owned(),
            verb: text(&event["verb"]).to_owned(),
            group: text(&object["apiGroup"]).to_owned(),
            resource,
            name: text(&object["name"]).to_owned(),
            allowed_by: role_in(text(&annotations["authorization.k8s.io/reason"])),
            forbidden: annotations["authorization.k8s.io/decision"] == "forbid",
            created: event["responseStatus"]["code"] == CREATED,
        }
    }

    /// Whether the same was asked by the same.
    pub fn repeats(&self, other: &Self) -> bool {
        let asked = |request: &Self| {
            let Self {
                user,
                verb,
                group,
                resource,
                name,
                ..
            } = request.clone();
            [user, verb, group, resource, name]
        };
        asked(self) == asked(other)
    }

    /// Whether it needs a permission.
    pub fn uses(&self, permission: &Permission) -> bool {
        // An apply of what is not there yet needs both, and the log has one line for it.
        let makes = permission.verb == "create" && self.verb == "patch" && self.created;
        self.allowed_by.as_ref() == Some(&permission.role)
            && (self.verb == permission.verb || makes)
            && self.group == permission.group
            && self.resource == permission.resource
            && permission
                .name
                .as_ref()
                .is_none_or(|name| *name == self.name)
    }
}

/// The role in the authorizer's reason, such as
/// `RBAC: allowed by RoleBinding "a/ns" of Role "r" to ServiceAccount "s/ns"`.
fn role_in(reason: &str) -> Option<String> {
    let mut quoted = reason.split('"').skip(1).step_by(2);
    let (binding, role) = (quoted.next()?, quoted.next()?);
    let namespace = match reason.contains(" of ClusterRole ") {
        true => "",
        false => binding.rsplit_once('/')?.1,
    };
    Some(role_of(namespace, role))
}
