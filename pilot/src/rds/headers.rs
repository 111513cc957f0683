//! Header edits of routes and destinations.

use mesh_api::route::headers::{HeaderEdit, HeaderOperations};
use xds::envoy::core::{HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction};
use xds::envoy::route::{
    Route,
    weighted_cluster::{ClusterWeight, cluster_weight::HostRewriteSpecifier},
};

/// Adds edits to a route.
pub(super) fn apply(route: &mut Route, edits: &HeaderOperations) {
    route.request_headers_to_add.extend(values(&edits.request));
    route
        .request_headers_to_remove
        .extend(removals(&edits.request));
    route
        .response_headers_to_add
        .extend(values(&edits.response));
    route
        .response_headers_to_remove
        .extend(removals(&edits.response));
}

/// Adds edits to one of several destinations.
pub(super) fn apply_to_cluster(cluster: &mut ClusterWeight, edits: &HeaderOperations) {
    cluster
        .request_headers_to_add
        .extend(values(&edits.request));
    cluster
        .request_headers_to_remove
        .extend(removals(&edits.request));
    cluster
        .response_headers_to_add
        .extend(values(&edits.response));
    cluster
        .response_headers_to_remove
        .extend(removals(&edits.response));
    cluster.host_rewrite_specifier =
        host(&edits.request).map(HostRewriteSpecifier::HostRewriteLiteral);
}

/// The host that an edit sets: Envoy rewrites the authority by a field of its own.
pub(super) fn host(edit: &HeaderEdit) -> Option<String> {
    let host = edit.set.iter().find(|(name, _)| is_host(name));
    host.map(|(_, value)| value.to_string())
}

fn values(edit: &HeaderEdit) -> impl Iterator<Item = HeaderValueOption> {
    let value =
        |(name, value): (&std::sync::Arc<str>, &std::sync::Arc<str>), action| HeaderValueOption {
            header: Some(HeaderValue {
                key: name.to_string(),
                value: value.to_string(),
                ..Default::default()
            }),
            append_action: HeaderAppendAction::into(action),
            ..Default::default()
        };
    let set = edit.set.iter().filter(|(name, _)| !is_host(name));
    let set = set.map(move |pair| value(pair, HeaderAppendAction::OverwriteIfExistsOrAdd));
    let add = edit.add.iter();
    set.chain(add.map(move |pair| value(pair, HeaderAppendAction::AppendIfExistsOrAdd)))
}

fn removals(edit: &HeaderEdit) -> impl Iterator<Item = String> {
    edit.remove.iter().map(ToString::to_string)
}

fn is_host(name: &str) -> bool {
    name == ":authority" || name.eq_ignore_ascii_case("host")
}
