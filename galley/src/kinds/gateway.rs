//! `Gateway`, networking.istio.io. Source: Istio `validation.ValidateGateway`.

mod tls;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use mesh_api::gateway::{Gateway, Server, ServerHost};
use mesh_api::labels::Selector;
use mesh_api::port::Protocol;

pub(crate) use self::tls::TlsProtocol;
use self::tls::WireTls;
use super::definition::Definition;
use super::descriptor::Descriptor;
use super::findings::Findings;
use super::read::Read;
use super::rules::{self, each, some};
use super::scope::Scope;
use super::wire::{Port, wire};
use crate::manifest::path::FieldPath;

const PROTOCOLS: &str = "HTTP, HTTPS, GRPC, GRPC-WEB, HTTP2, MONGO, TCP, TLS";

wire! {
    GatewaySpec {
        /// Ports that the gateway listens on, and the hosts of each.
        servers: Vec<WireServer>,
        /// Labels that a pod must have to be this gateway, all of them. Without labels every proxy is.
        selector: BTreeMap<String, String>,
    }

    #[schemars(extend("required" = ["port", "hosts"]))]
    WireServer {
        /// Port that the gateway listens on.
        port: Option<Port>,
        /// IP address that the gateway listens on. By default all addresses.
        bind: String,
        /// Hosts that VirtualServices may bind to this server, as HOST or NAMESPACE/HOST, where the namespace is
        /// that of the VirtualService: a name, "." for that of the gateway or "*" (default) for any. "*" as host is
        /// any host.
        hosts: Vec<String>,
        /// TLS settings. Required for protocols HTTPS and TLS; for HTTP only httpsRedirect is allowed.
        tls: Option<WireTls>,
        /// Not supported yet: endpoint that receives the traffic.
        default_endpoint: String,
        /// Name of the server, unique in the gateway.
        name: String,
    }
}

impl Read for GatewaySpec {
    const KIND: Descriptor = Descriptor::defined(Definition {
        short_names: &["gw"],
        ..Definition::networking::<Self>("Gateway", "gateways")
    });

    type Model = Arc<Gateway>;

    fn read(&self, scope: &Scope<'_>, findings: &mut Findings<'_>) -> Option<Arc<Gateway>> {
        let root = FieldPath::ROOT;
        let path = root.field("spec");
        let list = path.field("servers");
        if self.servers.is_empty() {
            findings.error(&list, "at least one server is required");
        }
        let labels = rules::labels(&self.selector, &path.field("selector"), findings);
        if self.selector.is_empty() {
            findings
                .warn(&path, "without selector the gateway applies to every proxy")
                .suggest("add selector: {istio: ingressgateway}");
        }
        let mut names = BTreeSet::new();
        let mut port_names = BTreeSet::new();
        let servers = each(&self.servers, &list, findings, |wire, at, findings| {
            if !wire.name.is_empty() && !names.insert(&wire.name) {
                let message = format!("duplicate server \"{}\"", wire.name);
                findings.error(&at.field("name"), message);
            }
            let server = server(wire, at, scope, findings);
            let port_name = wire.port.as_ref().map(|port| &port.name);
            if let Some(name) = port_name.filter(|name| !name.is_empty())
                && !port_names.insert(name)
            {
                findings
                    .error(
                        &at.field("port").field("name"),
                        format!("duplicate port name \"{name}\""),
                    )
                    .suggest("give each server's port a name of its own");
            }
            server
        });
        Some(Arc::new(Gateway {
            meta: scope.meta.clone(),
            selector: Selector::new(labels),
            pod_namespace: None,
            trusted_pods: None,
            servers: servers?,
        }))
    }

    #[cfg(any(test, feature = "test-util"))]
    fn sample() -> serde_json::Value {
        serde_json::json!({
            "selector": {"istio": "ingressgateway"},
            "servers": [{
                "port": {"number": 80, "name": "http", "protocol": "HTTP"},
                "hosts": ["*"],
            }],
        })
    }
}

fn server(
    wire: &WireServer,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<Server> {
    let (port, protocol) = port(wire, path, findings);
    let hosts = hosts(&wire.hosts, &path.field("hosts"), scope, findings);
    let bind = bind(&wire.bind, &path.field("bind"), findings);
    if !wire.default_endpoint.is_empty() {
        findings.not_supported(&path.field("defaultEndpoint"));
    }
    let at = path.field("tls");
    let tls = match (&wire.tls, protocol) {
        (None, Some(protocol)) if protocol.is_tls() => {
            findings
                .error(&at, format!("a server for {protocol} needs TLS settings"))
                .suggest("add tls: {mode: SIMPLE, credentialName: NAME}");
            None
        }
        (None, _) => None,
        (Some(tls), protocol) => {
            let secure = protocol.is_some_and(Protocol::is_tls);
            Some(tls::read(tls, secure, &at, findings))
        }
    };
    Some(Server {
        port: port?,
        port_name: wire.port.as_ref()?.name.as_str().into(),
        protocol: protocol?,
        name: some(&wire.name),
        bind: bind?,
        hosts: hosts?,
        tls,
    })
}

/// The number and the protocol, as far as they are right.
fn port(
    server: &WireServer,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> (Option<u16>, Option<Protocol>) {
    let path = path.field("port");
    let Some(port) = &server.port else {
        findings
            .error(&path, "the port is required")
            .suggest("add port: {number, name, protocol}");
        return (None, None);
    };
    let number = rules::port(port.number, &path.field("number"), findings);
    if port.name.is_empty() {
        findings.error(&path.field("name"), "the port needs a name");
    }
    if port.target_port != 0 {
        findings.warn(
            &path.field("targetPort"),
            "targetPort has no effect on a gateway",
        );
    }
    let protocol = Protocol::from_text(&port.protocol).filter(|p| *p != Protocol::Udp);
    if protocol.is_none() {
        let message = match port.protocol.as_str() {
            "" => "the protocol is required".to_owned(),
            other => format!("protocol \"{other}\" is not known"),
        };
        findings
            .error(&path.field("protocol"), message)
            .suggest(format!("write one of {PROTOCOLS}"));
    }
    (number, protocol)
}

/// `[namespace/]host`; without namespace any may bind.
fn hosts(
    texts: &[String],
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<Vec<ServerHost>> {
    if texts.is_empty() {
        findings
            .error(path, "at least one host is required")
            .suggest("write \"*\" for any host");
    }
    each(texts, path, findings, |text, at, findings| {
        let (namespace, host) = text.split_once('/').unwrap_or(("*", text));
        let namespace = match namespace {
            "*" => None,
            "." => Some(scope.meta.key.namespace.clone()),
            name => {
                if !rules::is_dns_label(name) {
                    let message = format!("\"{name}\" is not a namespace, \"*\" or \".\"");
                    findings.error(at, message);
                }
                Some(name.into())
            }
        };
        let host = rules::host(host, at, findings)?;
        if !host.as_str().contains('.') && !host.is_any() {
            let message = format!("short name \"{host}\" is not allowed on a gateway");
            findings
                .error(at, message)
                .suggest("write the fully qualified name");
        }
        Some(ServerHost { namespace, host })
    })
}

fn bind(text: &str, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> Option<Option<IpAddr>> {
    if text.is_empty() {
        return Some(None);
    }
    if let Ok(address) = text.parse() {
        return Some(Some(address));
    }
    if text.starts_with('/') || text.starts_with("unix:") {
        findings.refuse_unsupported(path, "listening on a unix socket is not supported yet");
    } else {
        findings.error(path, format!("\"{text}\" is not an address"));
    }
    None
}
