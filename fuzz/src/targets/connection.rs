//! The first bytes of a connection.

use proxy::listener::http_inspector;
use proxy::listener::proxy_protocol::{self, Header};
use proxy::listener::tls_inspector::{Inspection, TlsInspector};

use crate::target::{Outcome, Target, magnitude, outcome};

pub(super) static TARGETS: &[Target] = &[
    Target::new("client-hello", client_hello).dictionary(&["\x16\x03\x01", "\0\0", "h2", "istio"]),
    Target::new("proxy-header", proxy_header).dictionary(&[
        "PROXY ",
        "TCP4 ",
        "TCP6 ",
        "UNKNOWN",
        "\r\n",
        "\r\n\r\n\0\r\nQUIT\n",
        "\x21\x11\0\x0c",
        "::1 ",
        " 65535",
    ]),
    Target::new("http-inspector", http_inspector).dictionary(&[
        "GET / ",
        "HTTP/1.1\r\n",
        "HTTP/1.0\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]),
];

/// Bytes arrive in pieces, and the decision falls on the same byte however they are cut.
fn client_hello(input: &[u8]) -> Outcome {
    let summary = |inspection| match inspection {
        Inspection::More => (0, None, 0),
        Inspection::Raw => (1, None, 0),
        Inspection::Tls(hello) => (2, hello.server_name, hello.alpn.len()),
    };
    let mut inspector = TlsInspector::default();
    let ends = [1, 5, 6, 9, 50, 200, 1000, input.len()];
    let mut found = (0, None, 0);
    for end in ends.into_iter().filter(|end| *end <= input.len()) {
        found = summary(inspector.inspect(&input[..end]));
        assert!(inspector.fed() <= end);
        if found.0 != 0 {
            break;
        }
    }
    let at_once = summary(TlsInspector::default().inspect(input));
    // A message may be refused before all of it is there; what is understood is the same.
    if found.0 != 1 {
        assert_eq!(found, at_once);
    }
    outcome((found.0, found.1.map(|name| magnitude(name.len())), found.2))
}

fn proxy_header(input: &[u8]) -> Outcome {
    let header = proxy_protocol::inspect(input);
    match header {
        Header::Found { length, addresses } => {
            assert!(length <= input.len());
            // What follows the header does not change it.
            assert_eq!(proxy_protocol::inspect(&input[..length]), header);
            outcome((addresses.is_some(), addresses.map(|a| a.0.is_ipv4())))
        }
        Header::More => {
            assert!(input.len() < proxy_protocol::BYTES_MAX);
            outcome("more")
        }
        Header::Absent => outcome("absent"),
        Header::Invalid => outcome("invalid"),
    }
}

/// What was decided by fewer bytes is not decided otherwise by more.
fn http_inspector(input: &[u8]) -> Outcome {
    let all = http_inspector::inspect(input);
    let some = http_inspector::inspect(&input[..input.len() / 2]);
    assert!(some.is_none() || some == all, "{some:?} became {all:?}");
    outcome(all.map(http_inspector::Protocol::alpn))
}
