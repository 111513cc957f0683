//! `envoy.filters.listener.tls_inspector`: TLS or not, and what the ClientHello asks for.
//!
//! The ClientHello is parsed by rustls. The parsed message is kept: if TLS ends here, the handshake goes on
//! from it, and nothing is parsed twice.

use rustls::server::{Accepted, Acceptor};

/// Bytes after which an unfinished ClientHello is given up, as in Envoy.
pub const BYTES_MAX: usize = 16 * 1024;

/// The first byte of a TLS handshake record, and the major version after it.
const HANDSHAKE: u8 = 0x16;
const MAJOR: u8 = 0x03;

/// What the first bytes say.
pub enum Inspection {
    /// A complete ClientHello.
    Tls(Box<ClientHello>),
    /// Not TLS, or not a ClientHello that can be understood.
    Raw,
    /// More bytes are needed.
    More,
}

/// A ClientHello.
pub struct ClientHello {
    /// SNI, lower case.
    pub server_name: Option<Box<str>>,
    /// ALPN protocols in the client's order.
    pub alpn: Vec<Box<str>>,
    /// The handshake so far.
    pub accepted: Accepted,
}

/// Feeds bytes to the parser as they arrive.
#[derive(Default)]
pub struct TlsInspector {
    acceptor: Acceptor,
    fed: usize,
}

impl TlsInspector {
    /// Looks at all bytes so far; those of earlier calls must come first again.
    pub fn inspect(&mut self, bytes: &[u8]) -> Inspection {
        let looks_like_tls = match bytes {
            [] => return Inspection::More,
            [first] => *first == HANDSHAKE,
            [first, second, ..] => *first == HANDSHAKE && *second == MAJOR,
        };
        if !looks_like_tls {
            return Inspection::Raw;
        }
        let mut new = &bytes[self.fed..];
        while !new.is_empty() {
            match self.acceptor.read_tls(&mut new) {
                Ok(0) | Err(_) => return Inspection::Raw,
                Ok(read) => self.fed += read,
            }
            match self.acceptor.accept() {
                Ok(Some(accepted)) => return Inspection::Tls(Box::new(client_hello(accepted))),
                Ok(None) => {}
                Err(_) => return Inspection::Raw,
            }
        }
        if bytes.len() >= BYTES_MAX {
            return Inspection::Raw;
        }
        Inspection::More
    }

    /// How many of the bytes the parser has taken.
    pub fn fed(&self) -> usize {
        self.fed
    }
}

fn client_hello(accepted: Accepted) -> ClientHello {
    let hello = accepted.client_hello();
    let server_name = hello
        .server_name()
        .map(|name| name.to_ascii_lowercase().into());
    let alpn = hello.alpn().into_iter().flatten();
    let alpn = alpn
        .filter_map(|protocol| std::str::from_utf8(protocol).ok())
        .map(Into::into)
        .collect();
    ClientHello {
        server_name,
        alpn,
        accepted,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    fn hello(name: &str, alpn: &[&str]) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|a| a.as_bytes().to_vec()).collect();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn finds_sni_and_alpn_however_the_bytes_arrive() {
        let name = "outbound_.9080_._.Reviews.default.svc.cluster.local";
        let bytes = hello(name, &["istio", "h2"]);
        let mut inspector = TlsInspector::default();
        for end in 0..bytes.len() {
            let partial = inspector.inspect(&bytes[..end]);
            assert!(matches!(partial, Inspection::More), "decided after {end}");
        }
        let Inspection::Tls(found) = inspector.inspect(&bytes) else {
            panic!("not recognised");
        };
        assert_eq!(
            found.server_name.as_deref(),
            Some(&*name.to_ascii_lowercase())
        );
        assert_eq!(found.alpn, ["istio".into(), "h2".into()] as [Box<str>; 2]);
    }

    #[test]
    fn other_protocols_are_raw() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"\x16\x04",
            b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        ] {
            let inspection = TlsInspector::default().inspect(bytes);
            assert!(matches!(inspection, Inspection::Raw), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(mut bytes: Vec<u8>, tls: bool) {
            if tls && bytes.len() > 1 {
                bytes[0] = HANDSHAKE;
                bytes[1] = MAJOR;
            }
            let mut inspector = TlsInspector::default();
            for end in 0..=bytes.len() {
                if !matches!(inspector.inspect(&bytes[..end]), Inspection::More) {
                    break;
                }
            }
        }

        #[test]
        fn never_panics_on_a_damaged_hello(at in 0_usize..200, with: u8) {
            let mut bytes = hello("a.example", &["h2"]);
            let at = at % bytes.len();
            bytes[at] = with;
            TlsInspector::default().inspect(&bytes);
        }
    }
}
