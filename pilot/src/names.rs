//! Names that the whole mesh agrees on; they are Istio's, so that dashboards, filters and people
//! find what they know.

use mesh_api::hostname::Hostname;

/// The listener that the kernel redirects outgoing connections to.
pub(crate) const VIRTUAL_OUTBOUND: &str = "virtualOutbound";
/// The listener that the kernel redirects incoming connections to.
pub(crate) const VIRTUAL_INBOUND: &str = "virtualInbound";
/// Outgoing connections to nothing that the registry knows.
pub(crate) const VIRTUAL_OUTBOUND_CATCH_ALL: &str = "virtualOutbound-catchall-tcp";
/// Outgoing connections to the proxy's own port.
pub(crate) const VIRTUAL_OUTBOUND_BLACK_HOLE: &str = "virtualOutbound-blackhole";
/// Incoming HTTP on ports that no service has.
pub(crate) const VIRTUAL_INBOUND_CATCH_ALL_HTTP: &str = "virtualInbound-catchall-http";
/// Incoming connections to the proxy's own port.
pub(crate) const VIRTUAL_INBOUND_BLACK_HOLE: &str = "virtualInbound-blackhole";
/// The default chain of a listener for one service port.
pub(crate) const PASSTHROUGH_CHAIN: &str = "PassthroughFilterChain";

/// Forwards to where the connection was going.
pub(crate) const PASSTHROUGH_CLUSTER: &str = "PassthroughCluster";
/// Forwards nowhere.
pub(crate) const BLACK_HOLE_CLUSTER: &str = "BlackHoleCluster";
/// Forwards to the application on the port that the connection was going to.
pub(crate) const INBOUND_PASSTHROUGH_CLUSTER: &str = "InboundPassthroughCluster";

/// The virtual host and route for unknown hosts that may be reached.
pub(crate) const ALLOW_ANY: &str = "allow_any";
/// The virtual host and route for unknown hosts that may not.
pub(crate) const BLOCK_ALL: &str = "block_all";
/// The virtual host of a gateway port without routes.
pub(crate) const BLACKHOLE_PORT: &str = "blackhole";

/// Metadata about mesh objects.
pub(crate) const ISTIO_METADATA: &str = "istio";
/// Metadata that selects among a cluster's transport sockets.
pub(crate) const TRANSPORT_SOCKET_MATCH_METADATA: &str = "envoy.transport_socket_match";

/// `outbound|9080|v1|reviews.default.svc.cluster.local`.
pub(crate) fn outbound_cluster(port: u16, subset: &str, host: &Hostname) -> String {
    format!("outbound|{port}|{subset}|{host}")
}

/// `inbound|9080||`.
pub(crate) fn inbound_cluster(port: u16) -> String {
    format!("inbound|{port}||")
}

/// `outbound_.9080_.v1_.reviews.default.svc.cluster.local`: the cluster as a server name.
pub(crate) fn sni(port: u16, subset: &str, host: &Hostname) -> String {
    format!("outbound_.{port}_.{subset}_.{host}")
}

/// A name that statistics can be grouped by: Envoy cuts metric names at the first separator that
/// it does not know, and Istio closes names with one.
pub(crate) fn stat_prefix(name: &str) -> String {
    format!("{name};")
}
