//! The bootstraps: Envoy YAML, the same for every contender, but for Istio's own filters, which pilot gives to our proxy
//! and stock Envoy does not have; and what the floor is told instead.
//!
//! The templates lie in `src/config`; `${NAME}` is replaced.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
};

use anyhow::Context;

use crate::{
    args::Proxy,
    certs::{Certs, Identity},
    contender::Bootstrap,
};

const BOOTSTRAP: &str = include_str!("../config/bootstrap.yaml");
const HTTP_LISTENER: &str = include_str!("../config/http_listener.yaml");
const TCP_LISTENER: &str = include_str!("../config/tcp_listener.yaml");
const DOWNSTREAM_TLS: &str = include_str!("../config/downstream_tls.yaml");
const UPSTREAM_TLS: &str = include_str!("../config/upstream_tls.yaml");
const METADATA_EXCHANGE: &str = include_str!("../config/metadata_exchange.yaml");
const ISTIO_STATS: &str = include_str!("../config/istio_stats.yaml");
const UPSTREAM_HTTP2: &str = include_str!("../config/upstream_http2.yaml");

/// On which side of its workload a proxy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Inbound,
    Outbound,
}

/// Scenario A.
pub(super) fn http1(proxy: Proxy, dir: &Path, backend: SocketAddr) -> anyhow::Result<Bootstrap> {
    let listen = free_address()?;
    let listener = http_listener(proxy, Side::Inbound, dir, "http1", "");
    let floor = forwards("http1", "http1", None);
    Ok(bootstrap("http1", listen, backend, &listener, "", floor))
}

/// Scenario C.
pub(super) fn h2c(proxy: Proxy, dir: &Path, backend: SocketAddr) -> anyhow::Result<Bootstrap> {
    let listen = free_address()?;
    let listener = http_listener(proxy, Side::Inbound, dir, "h2c", "");
    let floor = forwards("h2c", "h2c", None);
    let options = UPSTREAM_HTTP2;
    Ok(bootstrap("h2c", listen, backend, &listener, options, floor))
}

/// Scenario D.
pub(super) fn tcp(backend: SocketAddr) -> anyhow::Result<Bootstrap> {
    let listen = free_address()?;
    let floor = Vec::new();
    Ok(bootstrap("tcp", listen, backend, TCP_LISTENER, "", floor))
}

/// Scenario B, the client's proxy.
pub(super) fn mtls_client(
    proxy: Proxy,
    dir: &Path,
    server: SocketAddr,
    certs: &Certs,
) -> anyhow::Result<Bootstrap> {
    let tls = with_identity(UPSTREAM_TLS, &certs.client, &certs.server, certs);
    let upstream = format!("{UPSTREAM_HTTP2}{tls}");
    let listener = http_listener(proxy, Side::Outbound, dir, "client", "");
    let floor = forwards("http1", "h2-tls", Some((&certs.client, certs)));
    Ok(bootstrap(
        "client",
        free_address()?,
        server,
        &listener,
        &upstream,
        floor,
    ))
}

/// Scenario B, the server's proxy.
pub(super) fn mtls_server(
    proxy: Proxy,
    dir: &Path,
    backend: SocketAddr,
    certs: &Certs,
) -> anyhow::Result<Bootstrap> {
    let tls = with_identity(DOWNSTREAM_TLS, &certs.server, &certs.client, certs);
    let listener = http_listener(proxy, Side::Inbound, dir, "server", &tls);
    let floor = forwards("h2-tls", "http1", Some((&certs.server, certs)));
    Ok(bootstrap(
        "server",
        free_address()?,
        backend,
        &listener,
        "",
        floor,
    ))
}

fn bootstrap(
    name: &'static str,
    listen: SocketAddr,
    upstream: SocketAddr,
    listener: &str,
    upstream_options: &str,
    mut floor: Vec<String>,
) -> Bootstrap {
    let yaml = BOOTSTRAP
        .replace("${LISTENER}", listener)
        .replace("${UPSTREAM_OPTIONS}", upstream_options)
        .replace("${NAME}", name)
        .replace("${LISTEN_PORT}", &listen.port().to_string())
        .replace("${UPSTREAM_PORT}", &upstream.port().to_string());
    floor.push(format!("--listen={listen}"));
    floor.push(format!("--upstream={upstream}"));
    Bootstrap {
        name,
        yaml,
        floor,
        listen,
    }
}

fn http_listener(proxy: Proxy, side: Side, dir: &Path, name: &str, tls: &str) -> String {
    let log = dir.join(format!("{name}-access.log"));
    let (direction, peer) = match side {
        Side::Inbound => ("INBOUND", "downstream"),
        Side::Outbound => ("OUTBOUND", "upstream"),
    };
    let (exchange, stats) = match proxy {
        Proxy::Weft => (METADATA_EXCHANGE, ISTIO_STATS),
        Proxy::Envoy | Proxy::Floor => ("", ""),
    };
    HTTP_LISTENER
        .replace("${METADATA_EXCHANGE}\n", exchange)
        .replace("${ISTIO_STATS}\n", stats)
        .replace("${SIDE}", peer)
        .replace("${DIRECTION}", direction)
        .replace("${ACCESS_LOG}", &log.display().to_string())
        .replace("${DOWNSTREAM_TLS}", tls)
}

/// What the floor is told.
fn forwards(from: &str, to: &str, identity: Option<(&Identity, &Certs)>) -> Vec<String> {
    let mut flags = vec![format!("--from={from}"), format!("--to={to}")];
    if let Some((own, certs)) = identity {
        for (flag, file) in [
            ("cert", &own.cert),
            ("key", &own.key),
            ("root", &certs.root),
        ] {
            flags.push(format!("--{flag}={}", file.display()));
        }
    }
    flags
}

fn with_identity(template: &str, own: &Identity, peer: &Identity, certs: &Certs) -> String {
    template
        .replace("${CERT}", &own.cert.display().to_string())
        .replace("${KEY}", &own.key.display().to_string())
        .replace("${ROOT}", &certs.root.display().to_string())
        .replace("${PEER}", &peer.spiffe_id)
}

/// A port that is free now; in a namespace of its own nobody else takes it.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
    Ok(listener.local_addr()?)
}
