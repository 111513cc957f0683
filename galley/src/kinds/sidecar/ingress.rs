//! `ingress[]`: a port of the workload.

use mesh_api::sidecar::IngressListener;

use super::listener::{CaptureMode, bind, port};
use crate::kinds::findings::Findings;
use crate::kinds::rules::some;
use crate::kinds::traffic_policy::{WirePool, connection_pool};
use crate::kinds::wire::{Port, wire};
use crate::manifest::path::FieldPath;

wire! {
    #[schemars(extend("required" = ["port"]))]
    WireIngress {
        /// Port of the workload that clients connect to.
        port: Option<Port>,
        /// Not supported yet: IP address that the proxy listens on.
        bind: String,
        /// How traffic reaches the proxy. NONE is not supported yet.
        capture_mode: CaptureMode,
        /// Where the application listens: 127.0.0.1:PORT or [::1]:PORT. With 0.0.0.0 or [::] it is the address that
        /// the client connected to if the port is the same, else the loopback address. By default the address and
        /// port that the client connected to.
        default_endpoint: String,
        /// Not supported yet.
        tls: Option<serde_json::Value>,
        /// Limits of connections and requests from the proxy to the application. By default inboundConnectionPool.
        connection_pool: Option<WirePool>,
    }
}

pub(super) fn read(
    wire: &WireIngress,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<IngressListener> {
    let at = path.field("port");
    let number = match &wire.port {
        Some(wire) => port(wire, &at, findings),
        None => {
            findings.error(&at, "the port is required");
            None
        }
    };
    let bind = bind(&wire.bind, &path.field("bind"), findings);
    if wire.capture_mode == CaptureMode::None {
        let message = "captureMode NONE is not supported yet for ingress";
        findings.refuse_unsupported(&path.field("captureMode"), message);
    }
    let endpoint = path.field("defaultEndpoint");
    default_endpoint(&wire.default_endpoint, &endpoint, findings);
    if wire.tls.is_some() {
        let message = "TLS settings of an ingress listener are not supported yet";
        findings.refuse_unsupported(&path.field("tls"), message);
    }
    let pool = wire.connection_pool.as_ref();
    let pool = pool.map(|wire| connection_pool(wire, &path.field("connectionPool"), findings));
    bind?;
    let (number, protocol) = number?;
    Some(IngressListener {
        port: number,
        name: wire.port.as_ref()?.name.as_str().into(),
        protocol,
        default_endpoint: some(&wire.default_endpoint),
        connection_pool: pool,
    })
}

/// A loopback or unspecified address with port, or a unix socket.
fn default_endpoint(text: &str, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    if text.is_empty() {
        return;
    }
    if text.starts_with("unix://") {
        findings.refuse_unsupported(path, "unix sockets are not supported yet");
        return;
    }
    let legal = ["127.0.0.1:", "0.0.0.0:", "[::1]:", "[::]:"]
        .iter()
        .any(|prefix| {
            text.strip_prefix(prefix)
                .is_some_and(|port| port.parse::<u16>().is_ok_and(|p| p > 0))
        });
    if !legal {
        findings
            .error(
                path,
                format!("\"{text}\" is not an endpoint of the workload itself"),
            )
            .suggest("write 127.0.0.1:PORT, or 0.0.0.0:PORT");
    }
}
