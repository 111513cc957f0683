//! Which inbound connections a port takes, and as what: the filter chain matches for each mTLS
//! mode and protocol.
//!
//! A connection is known by its first bytes: TLS or not, the ALPN protocols that it offers, HTTP
//! or not. Sidecars offer `istio…` protocols, which tells mesh TLS from the application's own.

use mesh_api::port::Protocol;

/// What sidecars offer for HTTP.
const MTLS_HTTP: &[&str] = &["istio-http/1.0", "istio-http/1.1", "istio-h2"];
/// What sidecars offer for anything.
const MTLS_ANY: &[&str] = &[
    "istio",
    "istio-peer-exchange",
    "istio-http/1.0",
    "istio-http/1.1",
    "istio-h2",
];
/// What sidecars offer for what is not known to be HTTP.
const MTLS_TCP: &[&str] = &["istio-peer-exchange", "istio"];
/// What the HTTP inspector finds in plaintext.
const PLAINTEXT_HTTP: &[&str] = &["http/1.1", "h2c"];

/// What a server accepts from its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum MtlsMode {
    /// Plaintext only; TLS is the application's own.
    Disable,
    /// Both.
    Permissive,
    /// Mesh TLS only.
    Strict,
}

/// How a port's bytes are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PortKind {
    /// Declared HTTP.
    Http,
    /// Declared something else.
    Tcp,
    /// To be found out.
    Sniffed,
}

impl PortKind {
    /// The kind of a declared protocol.
    pub(crate) fn of(protocol: Protocol) -> Self {
        if protocol.is_http() {
            Self::Http
        } else if protocol.is_auto() {
            Self::Sniffed
        } else {
            Self::Tcp
        }
    }
}

/// One filter chain of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChainMatch {
    /// Offered or detected protocols; empty for any.
    pub(crate) alpn: &'static [&'static str],
    /// Whether the connection begins with TLS.
    pub(crate) transport: Transport,
    /// Whether this proxy ends that TLS.
    pub(crate) terminates_tls: bool,
    /// Whether the bytes inside are HTTP.
    pub(crate) http: bool,
}

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// TLS.
    Tls,
    /// Anything else.
    RawBuffer,
}

impl Transport {
    /// The name in a filter chain match.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::RawBuffer => "raw_buffer",
        }
    }
}

/// The chains of a port, the more specific first.
pub(crate) fn chains(kind: PortKind, mode: MtlsMode) -> &'static [ChainMatch] {
    use MtlsMode::{Disable, Permissive, Strict};
    use PortKind::{Http, Sniffed, Tcp};
    match (kind, mode) {
        (Http, Strict) => const { &[mtls(&[], true)] },
        (Http, Permissive) => const { &[mtls(MTLS_ANY, true), plaintext(&[], true)] },
        (Http, Disable) => const { &[plaintext(&[], true)] },
        (Tcp, Strict) => const { &[mtls(&[], false)] },
        (Tcp, Permissive) => const { &[mtls(MTLS_ANY, false), OWN_TLS, plaintext(&[], false)] },
        (Tcp, Disable) => const { &[plaintext(&[], false), OWN_TLS] },
        (Sniffed, Strict) => const { &[mtls(MTLS_HTTP, true), mtls(&[], false)] },
        (Sniffed, Permissive) => {
            const {
                &[
                    mtls(MTLS_HTTP, true),
                    plaintext(PLAINTEXT_HTTP, true),
                    mtls(MTLS_TCP, false),
                    plaintext(&[], false),
                    OWN_TLS,
                ]
            }
        }
        (Sniffed, Disable) => {
            const {
                &[
                    plaintext(PLAINTEXT_HTTP, true),
                    plaintext(&[], false),
                    OWN_TLS,
                ]
            }
        }
    }
}

/// TLS of the application's own, passed through.
const OWN_TLS: ChainMatch = ChainMatch {
    alpn: &[],
    transport: Transport::Tls,
    terminates_tls: false,
    http: false,
};

const fn mtls(alpn: &'static [&'static str], http: bool) -> ChainMatch {
    ChainMatch {
        alpn,
        transport: Transport::Tls,
        terminates_tls: true,
        http,
    }
}

const fn plaintext(alpn: &'static [&'static str], http: bool) -> ChainMatch {
    ChainMatch {
        alpn,
        transport: Transport::RawBuffer,
        terminates_tls: false,
        http,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_ports_take_nothing_but_mesh_tls() {
        for kind in [PortKind::Http, PortKind::Tcp, PortKind::Sniffed] {
            assert!(
                chains(kind, MtlsMode::Strict)
                    .iter()
                    .all(|chain| chain.terminates_tls)
            );
        }
    }

    #[test]
    fn disabled_ports_end_no_tls() {
        for kind in [PortKind::Http, PortKind::Tcp, PortKind::Sniffed] {
            assert!(
                chains(kind, MtlsMode::Disable)
                    .iter()
                    .all(|chain| !chain.terminates_tls)
            );
        }
    }

    #[test]
    fn permissive_sniffed_ports_take_everything() {
        let summary: Vec<_> = chains(PortKind::Sniffed, MtlsMode::Permissive)
            .iter()
            .map(|c| {
                (
                    c.alpn.first().copied(),
                    c.transport.name(),
                    c.terminates_tls,
                    c.http,
                )
            })
            .collect();
        assert_eq!(
            summary,
            [
                (Some("istio-http/1.0"), "tls", true, true),
                (Some("http/1.1"), "raw_buffer", false, true),
                (Some("istio-peer-exchange"), "tls", true, false),
                (None, "raw_buffer", false, false),
                (None, "tls", false, false),
            ]
        );
    }
}
