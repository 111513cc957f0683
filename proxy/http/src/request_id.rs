//! `x-request-id`: a random UUID whose version digit carries the trace decision
//! (`envoy.request_id.uuid`).

use http::HeaderValue;
use http::header::{HeaderMap, HeaderName};

use crate::config::http::RequestIdOptions;

/// `x-request-id`.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Where the version digit stands.
const TRACE_POSITION: usize = 14;
/// The version digit of a request that is not traced.
const NOT_TRACED: u8 = b'4';

/// Sees to it that the request has an id. `edge` says that it comes from outside.
pub fn ensure(options: &RequestIdOptions, headers: &mut HeaderMap, edge: bool) {
    if !options.generate {
        return;
    }
    let Some(id) = headers.get(X_REQUEST_ID).filter(|id| !id.is_empty()) else {
        headers.insert(X_REQUEST_ID, generate());
        return;
    };
    if !edge {
        return;
    }
    if !options.preserve_external {
        headers.insert(X_REQUEST_ID, generate());
    } else if let Some(reset) = without_trace_decision(id) {
        headers.insert(X_REQUEST_ID, reset);
    }
}

fn generate() -> HeaderValue {
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    let id = uuid::Uuid::new_v4();
    let text = id.hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(text).expect("a UUID is a header value")
}

/// An outsider does not decide what is traced. `None` if nothing has to change.
fn without_trace_decision(id: &HeaderValue) -> Option<HeaderValue> {
    let bytes = id.as_bytes();
    if bytes.len() != uuid::fmt::Hyphenated::LENGTH || bytes[TRACE_POSITION] == NOT_TRACED {
        return None;
    }
    let mut reset = bytes.to_vec();
    reset[TRACE_POSITION] = NOT_TRACED;
    HeaderValue::from_maybe_shared(bytes::Bytes::from(reset)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: RequestIdOptions = RequestIdOptions {
        generate: true,
        preserve_external: false,
        set_in_response: false,
    };
    const PRESERVE: RequestIdOptions = RequestIdOptions {
        preserve_external: true,
        ..OPTIONS
    };
    const TRACED: &str = "aaaaaaaa-bbbb-9ccc-8ddd-eeeeeeeeeeee";

    fn ensured(options: RequestIdOptions, id: Option<&'static str>, edge: bool) -> String {
        let mut headers = HeaderMap::new();
        if let Some(id) = id {
            headers.insert(X_REQUEST_ID, HeaderValue::from_static(id));
        }
        ensure(&options, &mut headers, edge);
        headers[X_REQUEST_ID].to_str().unwrap().to_owned()
    }

    #[test]
    fn an_id_is_made_if_there_is_none() {
        let id = ensured(OPTIONS, None, false);
        assert_eq!(id.len(), 36);
        assert_eq!(&id[14..15], "4");
        assert_ne!(ensured(OPTIONS, None, false), id);
    }

    #[test]
    fn inside_an_id_is_kept_and_at_the_edge_replaced() {
        assert_eq!(ensured(OPTIONS, Some("any"), false), "any");
        assert_ne!(ensured(OPTIONS, Some("any"), true), "any");
        assert_eq!(ensured(PRESERVE, Some("any"), true), "any");
    }

    #[test]
    fn outsiders_do_not_decide_what_is_traced() {
        let reset = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";
        assert_eq!(ensured(PRESERVE, Some(TRACED), true), reset);
        assert_eq!(ensured(PRESERVE, Some(TRACED), false), TRACED);
    }
}
