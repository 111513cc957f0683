//! Hosts and authorities as they may be written.
//!
//! The characters are those that Envoy takes, and ports and brackets are as little checked as there: no virtual host has
//! such a name, and what a wildcard takes is compared as a whole. User info is not taken anywhere: it has no place in
//! requests (RFC 9110 section 4.2.4), and hides which host is meant.

/// A `host` header over HTTP/1, which may be empty (RFC 9112 section 3.2). Differs from Envoy, which takes user info.
pub fn is_host(host: &[u8]) -> bool {
    host.iter().all(|byte| HOST[usize::from(*byte)])
}

/// `:authority`, or `host` over HTTP/2.
pub fn is_http2_authority(authority: &[u8]) -> bool {
    !authority.is_empty() && is_host(authority)
}

/// The authority of an absolute target, or of CONNECT: checked to the port. Differs from Envoy, which removes user
/// info.
pub fn is_target_authority(authority: &str) -> bool {
    let (host, port) = match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => {
            (&authority[..colon], Some(&authority[colon + 1..]))
        }
        _ => (authority, None),
    };
    let port = port.is_none_or(|port| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
    });
    port && is_target_host(host)
}

fn is_target_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']').unwrap_or_default();
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    !host.is_empty() && host.bytes().all(is_name)
}

/// RFC 3986's characters of a host, with those of ports and brackets.
const HOST: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let character = byte as u8;
        table[byte] = character.is_ascii_alphanumeric()
            || matches!(
                character,
                b'-' | b'.'
                    | b'_'
                    | b'~'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b';'
                    | b'='
                    | b'%'
                    | b':'
                    | b'['
                    | b']'
            );
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for host in [
            "", "a", "a:80", "a:b", "[::1]:80", "a_b", "a'b", "a,b", "*", "a%20",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for byte in b"@ /#?\\\"<>{}|^`\t\x00\x01\x7f\x80\xff" {
            assert!(!is_host(&[b'a', *byte, b'b']), "{byte:#x}");
        }
        assert!(!is_http2_authority(b""));
    }

    #[test]
    fn targets() {
        for authority in ["a", "a.b:80", "[::1]", "[::1]:80", "a_b", "..."] {
            assert!(is_target_authority(authority), "{authority}");
        }
        for authority in [
            "", ":80", "u@a", "a:b", "a:99999", "a:", "a:+1", "[::1", "[zz]", "::1", "a%2eb",
            "a:1:2",
        ] {
            assert!(!is_target_authority(authority), "{authority}");
        }
    }
}
