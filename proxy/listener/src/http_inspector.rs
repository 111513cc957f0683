//! `envoy.filters.listener.http_inspector`: HTTP or not, by the first bytes.

use httparse::{EMPTY_HEADER, Request};

/// What the first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `http/1.0`.
    Http10,
    /// `http/1.1`.
    Http11,
    /// `h2c`: the HTTP/2 connection preface.
    Http2,
    /// Something else.
    NotHttp,
}

/// Bytes after which an unfinished request line is no request line.
pub const BYTES_MAX: usize = 64 * 1024;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// As in Envoy, only methods of the registry count: most other protocols are told apart by their first byte.
const METHODS: [&[u8]; 35] = [
    b"ACL",
    b"BIND",
    b"CHECKOUT",
    b"CONNECT",
    b"COPY",
    b"DELETE",
    b"GET",
    b"HEAD",
    b"LINK",
    b"LOCK",
    b"MERGE",
    b"MKACTIVITY",
    b"MKCALENDAR",
    b"MKCOL",
    b"MOVE",
    b"MSEARCH",
    b"M-SEARCH",
    b"NOTIFY",
    b"OPTIONS",
    b"PATCH",
    b"POST",
    b"PROPFIND",
    b"PROPPATCH",
    b"PURGE",
    b"PUT",
    b"REBIND",
    b"REPORT",
    b"SEARCH",
    b"SOURCE",
    b"SUBSCRIBE",
    b"TRACE",
    b"UNBIND",
    b"UNLINK",
    b"UNLOCK",
    b"UNSUBSCRIBE",
];

/// Looks at the bytes so far; `None` means that more are needed.
pub fn inspect(bytes: &[u8]) -> Option<Protocol> {
    if bytes.len() >= PREFACE.len() && bytes.starts_with(PREFACE) {
        return Some(Protocol::Http2);
    }
    if !bytes.is_empty() && bytes.len() < PREFACE.len() && PREFACE.starts_with(bytes) {
        return None;
    }
    let method = bytes.split(|&byte| byte == b' ').next().unwrap_or_default();
    let complete = method.len() < bytes.len();
    let known = METHODS.iter().any(|known| match complete {
        true => *known == method,
        false => known.starts_with(method),
    });
    if !known {
        return Some(Protocol::NotHttp);
    }
    match bytes.iter().position(|&byte| byte == b'\n') {
        Some(end) => Some(request_line(&bytes[..=end])),
        None if bytes.len() >= BYTES_MAX => Some(Protocol::NotHttp),
        None => None,
    }
}

fn request_line(line: &[u8]) -> Protocol {
    let mut headers = [EMPTY_HEADER; 0];
    let mut request = Request::new(&mut headers);
    // The line alone is an unfinished request; what matters is that the parser took its version.
    match request.parse(line) {
        Ok(_) => match request.version {
            Some(0) => Protocol::Http10,
            Some(1) => Protocol::Http11,
            _ => Protocol::NotHttp,
        },
        Err(_) => Protocol::NotHttp,
    }
}

impl Protocol {
    /// The name that filter chains match as an application protocol.
    pub fn alpn(self) -> Option<&'static str> {
        match self {
            Self::Http10 => Some("http/1.0"),
            Self::Http11 => Some("http/1.1"),
            Self::Http2 => Some("h2c"),
            Self::NotHttp => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(b"", None)]
    #[case(b"G", None)]
    #[case(b"GET / HTTP/1.", None)]
    #[case(b"GET / HTTP/1.1\r\n", Some(Protocol::Http11))]
    #[case(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Some(Protocol::Http11))]
    #[case(b"POST /a?b HTTP/1.0\r\n", Some(Protocol::Http10))]
    #[case(b"get / HTTP/1.1\r\n", Some(Protocol::NotHttp))]
    #[case(b"GETTY / HTTP/1.1\r\n", Some(Protocol::NotHttp))]
    #[case(b"GET /\r\n", Some(Protocol::NotHttp))]
    #[case(b"GET / HTTP/3.0\r\n", Some(Protocol::NotHttp))]
    #[case(b"\x00\x01", Some(Protocol::NotHttp))]
    #[case(b"hello world\n", Some(Protocol::NotHttp))]
    #[case(b"PRI * HTT", None)]
    #[case(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00", Some(Protocol::Http2))]
    #[case(b"PRI * HTTP/2.0\r\n\r\nXX", Some(Protocol::NotHttp))]
    fn the_first_bytes_tell(#[case] bytes: &[u8], #[case] expected: Option<Protocol>) {
        assert_eq!(inspect(bytes), expected);
    }

    #[test]
    fn an_endless_request_line_is_not_http() {
        let mut bytes = b"GET /".to_vec();
        bytes.resize(BYTES_MAX, b'a');
        assert_eq!(inspect(&bytes), Some(Protocol::NotHttp));
    }

    proptest! {
        #[test]
        fn never_panics_and_never_changes_its_mind(bytes: Vec<u8>, cut in 0_usize..64) {
            let whole = inspect(&bytes);
            if let Some(early) = inspect(&bytes[..cut.min(bytes.len())]) {
                prop_assert_eq!(Some(early), whole);
            }
        }
    }
}
