//! Which VirtualService decides about a host.
//!
//! For sidecars one object decides about a host: the one whose host is most specific, among equals
//! the oldest. At gateways all objects that bind to the gateway and name the host are joined. A
//! delegate's rules stand in the place of the rule that names it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_api::gateway::Gateway;
use mesh_api::hostname::Hostname;
use mesh_api::route::matcher::{HttpMatch, StringMatch};
use mesh_api::route::{GatewayRef, HttpAction, HttpRoute, VirtualService};
use mesh_api::snapshot::Snapshot;

use rpds::RedBlackTreeMapSync;

use super::ScopeKey;
use crate::node::NodeKind;
use crate::world::delta::Changed;

/// The virtual services that a group of proxies may see. A changed set shares what did not change.
#[derive(Clone, Debug)]
pub(crate) struct VirtualServices {
    /// Those that apply to sidecars, by host, oldest first.
    mesh: RedBlackTreeMapSync<Hostname, Vec<Arc<VirtualService>>>,
    /// The hosts among these that are patterns.
    wildcards: BTreeSet<Hostname>,
    /// Those that may apply to gateways, oldest first; of sidecars none.
    gateway: Arc<Vec<Arc<VirtualService>>>,
    /// Those with rules that others write.
    delegating: Vec<Arc<VirtualService>>,
    /// How many have rules for TLS or bytes.
    with_l4_rules: usize,
}

impl VirtualServices {
    /// The objects of a snapshot that are exported to these proxies.
    pub(super) fn new(snapshot: &Snapshot, key: &ScopeKey) -> Self {
        let mut all: Vec<_> = snapshot.virtual_services.values().flatten().collect();
        all.retain(|object| is_visible(object, key));
        all.sort_by(|a, b| a.meta.age_order().cmp(&b.meta.age_order()));
        let mut these = Self {
            mesh: RedBlackTreeMapSync::new_sync(),
            wildcards: BTreeSet::new(),
            gateway: Arc::default(),
            delegating: all
                .iter()
                .filter(|o| delegates(o))
                .map(|o| Arc::clone(o))
                .collect(),
            with_l4_rules: all.iter().filter(|object| has_l4_rules(object)).count(),
        };
        let all = all
            .into_iter()
            .map(|object| resolve_delegates(snapshot, object));
        if key.kind == NodeKind::Router {
            these.gateway = Arc::new(all.collect());
            return these;
        }
        let mut mesh: BTreeMap<Hostname, Vec<Arc<VirtualService>>> = BTreeMap::new();
        for object in all.filter(|object| mentions(object, &GatewayRef::Mesh)) {
            for host in &object.hosts {
                mesh.entry(host.clone())
                    .or_default()
                    .push(Arc::clone(&object));
            }
        }
        for (host, objects) in mesh {
            these.set(host, objects);
        }
        these
    }

    fn set(&mut self, host: Hostname, objects: Vec<Arc<VirtualService>>) {
        if objects.is_empty() {
            self.mesh.remove_mut(&host);
            self.wildcards.remove(&host);
            return;
        }
        if host.is_wildcard() {
            self.wildcards.insert(host.clone());
        }
        self.mesh.insert_mut(host, objects);
    }

    /// Takes a change in, for sidecars. Returns the hosts of which it may say something.
    pub(super) fn apply(
        &mut self,
        snapshot: &Snapshot,
        key: &ScopeKey,
        change: &Changed<VirtualService>,
    ) -> BTreeSet<Hostname> {
        let mut hosts = BTreeSet::new();
        let objects = || change.before.iter().chain(&change.after);
        // What a delegate says, its parents say.
        for delegate in objects().filter(|object| object.hosts.is_empty()) {
            let parents = self.delegating.iter();
            let parents: Vec<_> = parents
                .filter(|parent| delegates_to(parent, delegate))
                .cloned()
                .collect();
            for parent in parents {
                hosts.extend(parent.hosts.iter().cloned());
                self.replace(snapshot, Some(&parent), Some(&parent));
            }
        }
        let visible = |object: &&Arc<VirtualService>| is_visible(object, key);
        let before = change.before.as_ref().filter(visible);
        let after = change.after.as_ref().filter(visible);
        for object in before.into_iter().chain(after) {
            hosts.extend(object.hosts.iter().cloned());
        }
        self.replace(snapshot, before, after);
        hosts
    }

    fn replace(
        &mut self,
        snapshot: &Snapshot,
        before: Option<&Arc<VirtualService>>,
        after: Option<&Arc<VirtualService>>,
    ) {
        if let Some(before) = before {
            self.with_l4_rules -= usize::from(has_l4_rules(before));
            self.delegating
                .retain(|known| known.meta.key != before.meta.key);
            for host in &before.hosts {
                let mut objects = self.mesh.get(host).cloned().unwrap_or_default();
                objects.retain(|known| known.meta.key != before.meta.key);
                self.set(host.clone(), objects);
            }
        }
        let Some(after) = after else { return };
        self.with_l4_rules += usize::from(has_l4_rules(after));
        if delegates(after) {
            self.delegating.push(Arc::clone(after));
        }
        let resolved = resolve_delegates(snapshot, after);
        if !mentions(&resolved, &GatewayRef::Mesh) {
            return;
        }
        for host in &resolved.hosts {
            let mut objects = self.mesh.get(host).cloned().unwrap_or_default();
            objects.push(Arc::clone(&resolved));
            objects.sort_by(|a, b| a.meta.age_order().cmp(&b.meta.age_order()));
            self.set(host.clone(), objects);
        }
    }

    /// Whether rules say something about TLS or bytes.
    pub(crate) fn have_l4_rules(&self) -> bool {
        self.with_l4_rules > 0
    }

    /// The object that decides about a host for sidecars.
    pub(crate) fn of_host(&self, host: &Hostname) -> Option<&Arc<VirtualService>> {
        if let Some(objects) = self.mesh.get(host) {
            return objects.first();
        }
        let best = host.best_match(self.wildcards.iter())?;
        self.mesh.get(best)?.first()
    }

    /// Hosts and objects that apply to sidecars.
    pub(crate) fn mesh_hosts(&self) -> impl Iterator<Item = (&Hostname, &Arc<VirtualService>)> {
        let hosts = self.mesh.iter();
        hosts.filter_map(|(host, objects)| Some((host, objects.first()?)))
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

/// A delegate has no hosts.
fn is_visible(object: &VirtualService, key: &ScopeKey) -> bool {
    !object.hosts.is_empty() && object.visibility.includes(&key.namespace)
}

fn delegates(object: &VirtualService) -> bool {
    let mut rules = object.http.iter();
    rules.any(|rule| matches!(rule.action, HttpAction::Delegate { .. }))
}

fn delegates_to(object: &VirtualService, delegate: &VirtualService) -> bool {
    let key = &delegate.meta.key;
    object.http.iter().any(|rule| {
        matches!(&rule.action, HttpAction::Delegate { namespace, name }
            if *namespace == key.namespace && *name == key.name)
    })
}

/// Whether an object says something about listeners.
pub(crate) fn has_l4_rules(object: &VirtualService) -> bool {
    !object.tls.is_empty() || !object.tcp.is_empty()
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
    if !delegates(object) {
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
