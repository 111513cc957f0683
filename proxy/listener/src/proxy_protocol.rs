//! `envoy.filters.listener.proxy_protocol`: PROXY v1 and v2 headers, parsed by `proxy-header`.

use std::net::SocketAddr;

use proxy_header::{Error, ParseConfig, ProxyHeader};

/// Bytes after which an unfinished header is an error: v1 ends within 107, v2 has a 16-bit length.
pub const BYTES_MAX: usize = 16 * 1024;

const V1_START: &[u8] = b"PROXY ";
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What the first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// A complete header.
    Found {
        /// Its length: the application's bytes begin there.
        length: usize,
        /// Source and destination; `None` if the proxy speaks for itself (LOCAL, UNKNOWN).
        addresses: Option<(SocketAddr, SocketAddr)>,
    },
    /// No header at all.
    Absent,
    /// It begins like a header and is none.
    Invalid,
    /// More bytes are needed.
    More,
}

/// Looks at the bytes so far.
pub fn inspect(bytes: &[u8]) -> Header {
    let begins = |start: &[u8]| {
        let shared = start.len().min(bytes.len());
        bytes[..shared] == start[..shared]
    };
    if !begins(V1_START) && !begins(V2_START) {
        return Header::Absent;
    }
    if bytes.len() < V2_START.len() {
        return Header::More;
    }
    match ProxyHeader::parse(bytes, ParseConfig::default()) {
        Ok((header, length)) => Header::Found {
            length,
            addresses: header
                .proxied_address()
                .map(|address| (address.source, address.destination)),
        },
        Err(Error::BufferTooShort) if bytes.len() < BYTES_MAX => Header::More,
        Err(_) => Header::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn version_1() {
        let bytes = b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\r\nGET /";
        assert_eq!(inspect(&bytes[..30]), Header::More);
        assert_eq!(
            inspect(bytes),
            Header::Found {
                length: 40,
                addresses: Some((
                    "192.0.2.1:1234".parse().unwrap(),
                    "192.0.2.2:80".parse().unwrap()
                )),
            }
        );
    }

    #[test]
    fn other_bytes_and_broken_headers() {
        assert_eq!(inspect(b"GET / HTTP/1.1\r\n"), Header::Absent);
        assert_eq!(inspect(b"PROXY NONSENSE a b c\r\n"), Header::Invalid);
        assert_eq!(inspect(b""), Header::More);
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, start in 0_usize..3) {
            let start = [&b""[..], V1_START, V2_START][start];
            let bytes = [start, &bytes].concat();
            if let Header::Found { length, .. } = inspect(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }
    }
}
