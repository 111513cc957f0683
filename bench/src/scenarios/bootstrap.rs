//! The bootstraps: Envoy YAML, the same for every contender.
//!
//! The templates lie in `src/config`; `${NAME}` is replaced.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
};

use anyhow::Context;

use crate::{certs::Certs, certs::Identity, contender::Bootstrap};

const BOOTSTRAP: &str = include_str!("../config/bootstrap.yaml");
const HTTP_LISTENER: &str = include_str!("../config/http_listener.yaml");
const TCP_LISTENER: &str = include_str!("../config/tcp_listener.yaml");
const DOWNSTREAM_TLS: &str = include_str!("../config/downstream_tls.yaml");
const UPSTREAM_TLS: &str = include_str!("../config/upstream_tls.yaml");
const UPSTREAM_HTTP2: &str = include_str!("../config/upstream_http2.yaml");

/// Scenario A.
pub(super) fn http1(dir: &Path, backend: SocketAddr) -> anyhow::Result<Bootstrap> {
    let listen = free_address()?;
    let listener = http_listener(dir, "http1", "");
    Ok(bootstrap("http1", listen, backend, &listener, ""))
}

/// Scenario C.
pub(super) fn h2c(dir: &Path, backend: SocketAddr) -> anyhow::Result<Bootstrap> {
    let listen = free_address()?;
    let listener = http_listener(dir, "h2c", "");
    Ok(bootstrap("h2c", listen, backend, &listener, UPSTREAM_HTTP2))
}

/// Scenario D.
pub(super) fn tcp(backend: SocketAddr) -> anyhow::Result<Bootstrap> {
    let listen = free_address()?;
    Ok(bootstrap("tcp", listen, backend, TCP_LISTENER, ""))
}

/// Scenario B, the client's proxy.
pub(super) fn mtls_client(
    dir: &Path,
    server: SocketAddr,
    certs: &Certs,
) -> anyhow::Result<Bootstrap> {
    let tls = with_identity(UPSTREAM_TLS, &certs.client, &certs.server, certs);
    let upstream = format!("{UPSTREAM_HTTP2}{tls}");
    let listener = http_listener(dir, "client", "");
    Ok(bootstrap(
        "client",
        free_address()?,
        server,
        &listener,
        &upstream,
    ))
}

/// Scenario B, the server's proxy.
pub(super) fn mtls_server(
    dir: &Path,
    backend: SocketAddr,
    certs: &Certs,
) -> anyhow::Result<Bootstrap> {
    let tls = with_identity(DOWNSTREAM_TLS, &certs.server, &certs.client, certs);
    let listener = http_listener(dir, "server", &tls);
    Ok(bootstrap("server", free_address()?, backend, &listener, ""))
}

fn bootstrap(
    name: &'static str,
    listen: SocketAddr,
    upstream: SocketAddr,
    listener: &str,
    upstream_options: &str,
) -> Bootstrap {
    let yaml = BOOTSTRAP
        .replace("${LISTENER}", listener)
        .replace("${UPSTREAM_OPTIONS}", upstream_options)
        .replace("${NAME}", name)
        .replace("${LISTEN_PORT}", &listen.port().to_string())
        .replace("${UPSTREAM_PORT}", &upstream.port().to_string());
    Bootstrap { name, yaml, listen }
}

fn http_listener(dir: &Path, name: &str, tls: &str) -> String {
    let log = dir.join(format!("{name}-access.log"));
    HTTP_LISTENER
        .replace("${ACCESS_LOG}", &log.display().to_string())
        .replace("${DOWNSTREAM_TLS}", tls)
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
