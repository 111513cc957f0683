//! Operators (`%NAME(argument):length%`) of header values and access log formats.
//!
//! The lists are those of the data plane: it refuses the whole resource for one
//! operator that it does not know, so such a format must not get there.

/// Operators of header values that take no argument.
const IN_HEADERS: &[&str] = &[
    "BYTES_RECEIVED",
    "CONNECTION_ID",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_LOCAL_ADDRESS",
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_LOCAL_PORT",
    "DOWNSTREAM_LOCAL_URI_SAN",
    "DOWNSTREAM_PEER_FINGERPRINT_256",
    "DOWNSTREAM_PEER_SUBJECT",
    "DOWNSTREAM_PEER_URI_SAN",
    "DOWNSTREAM_REMOTE_ADDRESS",
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_REMOTE_PORT",
    "DOWNSTREAM_TLS_CIPHER",
    "DOWNSTREAM_TLS_VERSION",
    "HOSTNAME",
    "PROTOCOL",
    "REQUESTED_SERVER_NAME",
    "RESPONSE_CODE",
    "RESPONSE_CODE_DETAILS",
    "RESPONSE_FLAGS",
    "ROUTE_NAME",
    "STREAM_ID",
    "UPSTREAM_CLUSTER",
    "UPSTREAM_CLUSTER_RAW",
    "UPSTREAM_HOST",
    "UPSTREAM_REMOTE_ADDRESS",
    "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "VIRTUAL_CLUSTER_NAME",
    "VIRTUAL_HOST_NAME",
];

/// Operators of access logs that take no argument.
const IN_LOGS: &[&str] = &[
    "BYTES_RECEIVED",
    "BYTES_SENT",
    "CONNECTION_ID",
    "CONNECTION_TERMINATION_DETAILS",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_DIRECT_REMOTE_PORT",
    "DOWNSTREAM_LOCAL_ADDRESS",
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_LOCAL_PORT",
    "DOWNSTREAM_LOCAL_URI_SAN",
    "DOWNSTREAM_PEER_DNS_SAN",
    "DOWNSTREAM_PEER_FINGERPRINT_256",
    "DOWNSTREAM_PEER_SUBJECT",
    "DOWNSTREAM_PEER_URI_SAN",
    "DOWNSTREAM_REMOTE_ADDRESS",
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_REMOTE_PORT",
    "DOWNSTREAM_TLS_CIPHER",
    "DOWNSTREAM_TLS_VERSION",
    "DURATION",
    "FILTER_CHAIN_NAME",
    "GRPC_STATUS",
    "GRPC_STATUS_NUMBER",
    "HOSTNAME",
    "PROTOCOL",
    "REQUESTED_SERVER_NAME",
    "RESPONSE_CODE",
    "RESPONSE_CODE_DETAILS",
    "RESPONSE_DURATION",
    "RESPONSE_FLAGS",
    "ROUTE_NAME",
    "START_TIME",
    "UPSTREAM_CLUSTER",
    "UPSTREAM_CLUSTER_RAW",
    "UPSTREAM_HOST",
    "UPSTREAM_LOCAL_ADDRESS",
    "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    "UPSTREAM_LOCAL_PORT",
    "UPSTREAM_REMOTE_ADDRESS",
    "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "UPSTREAM_REMOTE_PORT",
    "UPSTREAM_REQUEST_ATTEMPT_COUNT",
    "UPSTREAM_TRANSPORT_FAILURE_REASON",
];

/// What is wrong with a header's value.
pub(crate) fn header_fault(text: &str) -> Option<String> {
    fault(text, |name, argument| match argument {
        None => IN_HEADERS.contains(&name),
        Some(_) => matches!(name, "REQ" | "RESP" | "ENVIRONMENT"),
    })
}

/// What is wrong with the format of an access log.
pub(crate) fn log_fault(text: &str) -> Option<String> {
    fault(text, |name, argument| match (name, argument) {
        (_, None) => IN_LOGS.contains(&name),
        ("START_TIME" | "REQ" | "REQ_WITHOUT_QUERY" | "RESP" | "ENVIRONMENT", Some(_)) => true,
        ("TRAILER", Some(name)) => name.eq_ignore_ascii_case("grpc-status"),
        ("GRPC_STATUS", Some(form)) => matches!(form, "SNAKE_STRING" | "NUMBER" | "CAMEL_STRING"),
        _ => false,
    })
}

/// The first operator that is not `known`, or has no end.
fn fault(text: &str, known: impl Fn(&str, Option<&str>) -> bool) -> Option<String> {
    let mut rest = text;
    while let Some(start) = rest.find('%') {
        rest = &rest[start + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            rest = after;
            continue;
        }
        let Some((whole, name, argument)) = operator(rest) else {
            return Some(format!(
                "the operator \"%{rest}\" does not end; a percent sign is written %%"
            ));
        };
        if !known(name, argument) {
            return Some(format!("operator \"%{whole}%\" is not supported yet"));
        }
        rest = &rest[whole.len() + 1..];
    }
    None
}

/// All before the closing `%`, the name, the argument. Arguments may hold `%`.
fn operator(text: &str) -> Option<(&str, &str, Option<&str>)> {
    let name_end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))?;
    let (name, tail) = text.split_at(name_end);
    let (argument, argument_len) = match tail.strip_prefix('(') {
        Some(inner) => {
            let mut ends = inner.match_indices(')').map(|(at, _)| at);
            let end = ends.find(|at| matches!(inner.as_bytes().get(at + 1), Some(b'%' | b':')))?;
            (Some(&inner[..end]), end + 2)
        }
        None => (None, 0),
    };
    let close = tail[argument_len..].find('%')?;
    let length = &tail[argument_len..argument_len + close];
    let legal = length.is_empty()
        || length
            .strip_prefix(':')
            .is_some_and(|digits| digits.parse::<usize>().is_ok());
    let whole = &text[..name_end + argument_len + close];
    legal.then_some((whole, name, argument))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_operators_pass() {
        for text in [
            "",
            "100%%",
            "a%ROUTE_NAME%b",
            "%REQ(X-A?:path):3%%PROTOCOL%",
        ] {
            assert_eq!(header_fault(text), None, "{text}");
            assert_eq!(log_fault(text), None, "{text}");
        }
        assert_eq!(log_fault("[%START_TIME(%Y-%m-%d)%] %DURATION%"), None);
        assert_eq!(
            log_fault("%GRPC_STATUS(NUMBER)% %TRAILER(grpc-status)%"),
            None
        );
    }

    #[test]
    fn others_are_named() {
        let unknown = |operator| Some(format!("operator \"{operator}\" is not supported yet"));
        assert_eq!(header_fault("a %DURATION%"), unknown("%DURATION%"));
        assert_eq!(
            header_fault("%START_TIME(%s)%"),
            unknown("%START_TIME(%s)%")
        );
        assert_eq!(log_fault("%TRAILER(x)%"), unknown("%TRAILER(x)%"));
        assert_eq!(
            log_fault("%DYNAMIC_METADATA(a:b):5%"),
            unknown("%DYNAMIC_METADATA(a:b):5%")
        );
        assert!(header_fault("50% off").unwrap().contains("does not end"));
    }
}
