//! What roles grant against what was done by them, as the API server's audit log tells it: a permission that nobody
//! uses is one that a stolen token could use.

mod audit;

use std::{collections::BTreeSet, fmt};

use serde_json::Value;

pub use audit::Request;

/// One thing that a role lets its holders do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// The role, as [`role_of`] names it.
    pub role: String,
    /// What may be done.
    pub verb: String,
    /// The API group, "" for the core.
    pub group: String,
    /// The resource, with its subresource.
    pub resource: String,
    /// The only object with which it may be done.
    pub name: Option<String>,
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            role,
            verb,
            group,
            resource,
            name,
        } = self;
        let group = if group.is_empty() { "core" } else { group };
        write!(f, "{role}: {verb} {group}/{resource}")?;
        name.iter().try_for_each(|name| write!(f, " \"{name}\""))
    }
}

/// A role's name in reports: "ClusterRole NAME" or "Role NAMESPACE/NAME".
fn role_of(namespace: &str, name: &str) -> String {
    match namespace {
        "" => format!("ClusterRole {name}"),
        _ => format!("Role {namespace}/{name}"),
    }
}

/// Everything that a Kubernetes list of roles grants.
pub fn granted(roles: &Value) -> BTreeSet<Permission> {
    let mut granted = BTreeSet::new();
    for role in items(&roles["items"]) {
        let metadata = &role["metadata"];
        let role_name = role_of(text(&metadata["namespace"]), text(&metadata["name"]));
        for rule in items(&role["rules"]) {
            granted.extend(of_rule(&role_name, rule));
        }
    }
    granted
}

fn of_rule(role: &str, rule: &Value) -> Vec<Permission> {
    let names: Vec<Option<&str>> = match &rule["resourceNames"] {
        Value::Null => vec![None],
        names => items(names).map(|name| Some(text(name))).collect(),
    };
    let mut permissions = Vec::new();
    for group in items(&rule["apiGroups"]).map(text) {
        for resource in items(&rule["resources"]).map(text) {
            for verb in items(&rule["verbs"]).map(text) {
                permissions.extend(names.iter().map(|name| Permission {
                    role: role.to_owned(),
                    verb: verb.to_owned(),
                    group: group.to_owned(),
                    resource: resource.to_owned(),
                    name: name.map(str::to_owned),
                }));
            }
        }
    }
    permissions
}

/// What is granted and not used by any of `requests`.
///
/// Who watches may list: a watch begins with a list where the API server does not stream it.
pub fn unused(granted: &BTreeSet<Permission>, requests: &[Request]) -> Vec<Permission> {
    let is_used = |one: &Permission| requests.iter().any(|request| request.uses(one));
    let begins_a_watch = |one: &Permission| {
        let verb = "watch".to_owned();
        one.verb == "list"
            && is_used(&Permission {
                verb,
                ..one.clone()
            })
    };
    let unused = |one: &&Permission| !is_used(one) && !begins_a_watch(one);
    granted.iter().filter(unused).cloned().collect()
}

/// What nobody granted.
///
/// What was allowed at another time was asked while the mesh was being removed: its roles go before its pods have ended.
pub fn forbidden(requests: &[Request]) -> Vec<&Request> {
    let allowed = |request: &Request| {
        let mut others = requests.iter();
        others.any(|other| !other.forbidden && other.repeats(request))
    };
    let forbidden = |request: &&Request| request.forbidden && !allowed(request);
    requests.iter().filter(forbidden).collect()
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests;
