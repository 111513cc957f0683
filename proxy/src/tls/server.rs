//! Server side of TLS (`DownstreamTlsContext`).

/// TLS termination of a filter chain, rebuilt whenever one of its secrets changes.
#[derive(Debug)]
pub struct ServerTls {
    /// `require_client_certificate`.
    pub require_client_certificate: bool,
}
