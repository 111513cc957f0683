//! Which VirtualService decides about a host.
//!
//! For sidecars one object decides about a host: the one whose host is most specific, among equals
//! the oldest. At gateways all objects that bind to the gateway and name the host are joined. A
//! delegate's rules stand in the place of the rule that names it.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_api::gateway::Gateway;
use mesh_api::hostname::Hostname;
use mesh_api::route::matcher::{HttpMatch, StringMatch};
use mesh_api::route::{GatewayRef, HttpAction, HttpRoute, VirtualService};
use mesh_api::snapshot::Snapshot;

use super::ScopeKey;

/// The virtual services that a group of proxies may see, oldest first.
#[derive(Debug)]
pub(crate) struct VirtualServices {
    /// Those that apply to sidecars, by host.
    mesh: BTreeMap<Hostname, Arc<VirtualService>>,
    /// Those that may apply to gateways.
    gateway: Vec<Arc<VirtualService>>,
}

impl VirtualServices {
    /// The objects of a snapshot that are exported to these proxies.
    pub(super) fn new(snapshot: &Snapshot, key: &ScopeKey) -> Self {
        let mut all: Vec<_> = snapshot.virtual_services.values().flatten().collect();
        all.retain(|object| !object.hosts.is_empty() && object.visibility.includes(&key.namespace));
        all.sort_by(|a, b| a.meta.age_order().cmp(&b.meta.age_order()));
        let all: Vec<_> = all
            .into_iter()
            .map(|object| resolve_delegates(snapshot, object))
            .collect();

        let mut mesh = BTreeMap::new();
        for object in all
            .iter()
            .filter(|object| mentions(object, &GatewayRef::Mesh))
        {
            for host in &object.hosts {
                mesh.entry(host.clone())
                    .or_insert_with(|| Arc::clone(object));
            }
        }
        Self { mesh, gateway: all }
    }

    /// The object that decides about a host for sidecars.
    pub(crate) fn of_host(&self, host: &Hostname) -> Option<&Arc<VirtualService>> {
        if let Some(object) = self.mesh.get(host) {
            return Some(object);
        }
        let wildcards = self.mesh.keys().filter(|candidate| candidate.is_wildcard());
        self.mesh.get(host.best_match(wildcards)?)
    }

    /// Hosts and objects that apply to sidecars.
    pub(crate) fn mesh_hosts(&self) -> impl Iterator<Item = (&Hostname, &Arc<VirtualService>)> {
        self.mesh.iter()
    }

    /// The objects that bind to a gateway, oldest first.
    pub(crate) fn of_gateway<'s>(
        &'s self,
        gateway: &Gateway,
    ) -> impl Iterator<Item = &'s Arc<VirtualService>> {
        let reference = GatewayRef::Gateway {
            namespace: Arc::clone(&gateway.meta.key.namespace),
            name: Arc::clone(&gateway.meta.key.name),
        };
        self.gateway
            .iter()
            .filter(move |object| mentions(object, &reference))
    }
}

/// Whether an object, or a single match in it, applies there.
fn mentions(object: &VirtualService, reference: &GatewayRef) -> bool {
    object.gateways.contains(reference)
        || object
            .http
            .iter()
            .flat_map(|r| &r.matches)
            .any(|m| m.gateways.contains(reference))
        || object
            .tls
            .iter()
            .flat_map(|r| &r.matches)
            .any(|m| m.l4.gateways.contains(reference))
        || object
            .tcp
            .iter()
            .flat_map(|r| &r.matches)
            .any(|m| m.gateways.contains(reference))
}

fn resolve_delegates(snapshot: &Snapshot, object: &Arc<VirtualService>) -> Arc<VirtualService> {
    let delegates = object
        .http
        .iter()
        .any(|route| matches!(route.action, HttpAction::Delegate { .. }));
    if !delegates {
        return Arc::clone(object);
    }
    let mut resolved = VirtualService::clone(object);
    resolved.http = object
        .http
        .iter()
        .flat_map(|route| delegate(snapshot, route))
        .collect();
    Arc::new(resolved)
}

/// The rules that a rule stands for: itself, or its delegate's. A delegate that does not exist,
/// or delegates again, stands for none.
fn delegate(snapshot: &Snapshot, parent: &HttpRoute) -> Vec<HttpRoute> {
    let HttpAction::Delegate { namespace, name } = &parent.action else {
        return vec![parent.clone()];
    };
    let candidates = Snapshot::of_namespace(&snapshot.virtual_services, namespace);
    let child = candidates
        .iter()
        .find(|object| object.hosts.is_empty() && object.meta.name() == &**name);
    let routes = child
        .map(|object| object.http.as_slice())
        .unwrap_or_default();
    routes
        .iter()
        .filter(|route| !matches!(route.action, HttpAction::Delegate { .. }))
        .filter_map(|child| merge(parent, child))
        .collect()
}

/// A delegate's rule under the conditions of its parent; fields of the delegate override.
fn merge(parent: &HttpRoute, child: &HttpRoute) -> Option<HttpRoute> {
    let mut merged = child.clone();
    merged.matches = merge_matches(&parent.matches, &child.matches)?;
    merged.name = join_names(&parent.name, &child.name);
    merged.rewrite = child.rewrite.clone().or_else(|| parent.rewrite.clone());
    merged.retries = child.retries.clone().or_else(|| parent.retries.clone());
    merged.fault = child.fault.clone().or_else(|| parent.fault.clone());
    merged.cors = child.cors.clone().or_else(|| parent.cors.clone());
    if child.timeout == Default::default() {
        merged.timeout = parent.timeout;
    }
    if child.mirrors.is_empty() {
        merged.mirrors.clone_from(&parent.mirrors);
    }
    let (ours, theirs) = (&mut merged.headers, &parent.headers);
    for (ours, theirs) in [
        (&mut ours.request, &theirs.request),
        (&mut ours.response, &theirs.response),
    ] {
        for (name, value) in &theirs.set {
            ours.set
                .entry(Arc::clone(name))
                .or_insert_with(|| Arc::clone(value));
        }
        for (name, value) in &theirs.add {
            ours.add
                .entry(Arc::clone(name))
                .or_insert_with(|| Arc::clone(value));
        }
        ours.remove.extend(theirs.remove.iter().cloned());
    }
    Some(merged)
}

/// The matches of a delegate's rule: each must lie within one of its parent's. None left means
/// that the rule is dropped.
fn merge_matches(parents: &[HttpMatch], children: &[HttpMatch]) -> Option<Vec<HttpMatch>> {
    if children.is_empty() {
        return Some(parents.to_vec());
    }
    if parents.is_empty() {
        return Some(children.to_vec());
    }
    let mut merged = Vec::new();
    for child in children {
        let parent = parents.iter().find(|parent| is_within(child, parent))?;
        merged.push(merge_match(parent, child));
    }
    Some(merged)
}

fn is_within(child: &HttpMatch, parent: &HttpMatch) -> bool {
    let narrows = |child: &Option<StringMatch>, parent: &Option<StringMatch>| match (child, parent)
    {
        (_, None) | (None, Some(_)) => true,
        (Some(StringMatch::Exact(c) | StringMatch::Prefix(c)), Some(StringMatch::Prefix(p))) => {
            c.starts_with(&**p)
        }
        (Some(child), Some(parent)) => child == parent,
    };
    narrows(&child.uri, &parent.uri)
        && narrows(&child.scheme, &parent.scheme)
        && narrows(&child.method, &parent.method)
        && narrows(&child.authority, &parent.authority)
        && (child.port.is_none() || parent.port.is_none() || child.port == parent.port)
        && child.headers.iter().all(|(name, value)| {
            parent
                .headers
                .get(name)
                .is_none_or(|theirs| theirs == value)
        })
}

fn merge_match(parent: &HttpMatch, child: &HttpMatch) -> HttpMatch {
    let mut merged = child.clone();
    merged.name = join_names(&parent.name, &child.name);
    merged.uri = child.uri.clone().or_else(|| parent.uri.clone());
    merged.scheme = child.scheme.clone().or_else(|| parent.scheme.clone());
    merged.method = child.method.clone().or_else(|| parent.method.clone());
    merged.authority = child.authority.clone().or_else(|| parent.authority.clone());
    merged.port = child.port.or(parent.port);
    for (name, value) in &parent.headers {
        merged
            .headers
            .entry(Arc::clone(name))
            .or_insert_with(|| value.clone());
    }
    for (name, value) in &parent.without_headers {
        merged
            .without_headers
            .entry(Arc::clone(name))
            .or_insert_with(|| value.clone());
    }
    for (name, value) in &parent.query_params {
        merged
            .query_params
            .entry(Arc::clone(name))
            .or_insert_with(|| value.clone());
    }
    if merged.gateways.is_empty() {
        merged.gateways.clone_from(&parent.gateways);
    }
    if merged.source_labels.is_empty() {
        merged.source_labels = parent.source_labels.clone();
    }
    merged.source_namespace = child
        .source_namespace
        .clone()
        .or(parent.source_namespace.clone());
    merged
}

fn join_names(parent: &Arc<str>, child: &Arc<str>) -> Arc<str> {
    match (parent.is_empty(), child.is_empty()) {
        (true, _) => Arc::clone(child),
        (_, true) => Arc::clone(parent),
        _ => format!("{parent}-{child}").into(),
    }
}
