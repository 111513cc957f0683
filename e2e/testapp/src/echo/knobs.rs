//! What a request can ask for, in its query or in headers `x-echo-NAME`:
//!
//! | name | effect |
//! |---|---|
//! | `key` | count under this key instead of the path |
//! | `status` | answer with this status |
//! | `fail`, `fail-status` | fail the first N requests of the key, with this status (503) |
//! | `delay` | wait so many milliseconds before answering |
//! | `delay-first` | as `delay`, for the first N requests of the key only (`delay-first=2:500`) |
//! | `close` | close the connection without an answer; `close=N` for the first N requests of the key |
//! | `bytes` | answer with so many bytes instead of the description |
//! | `header` | add a response header, `name:value` (may repeat, in the query only) |
//! | `trailer` | add a response trailer, `name:value` |
//!
//! `/control?status=503` and `/control?delay=100` make a whole pod misbehave until `/control`.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use http::{HeaderName, HeaderValue, StatusCode, request::Parts};
use percent_encoding::percent_decode_str;

/// The longest wait a request can ask for.
const DELAY_MAX: Duration = Duration::from_secs(60);

/// One request's wishes.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Knobs {
    /// What to count under.
    pub key: String,
    /// The status of the answer.
    pub status: Option<StatusCode>,
    /// How many requests of the key fail.
    pub fail: u64,
    /// With which status.
    pub fail_status: Option<StatusCode>,
    /// The wait before the answer.
    pub delay: Duration,
    /// How many requests of the key wait; all where absent.
    pub delay_first: Option<u64>,
    /// How many requests of the key find the connection closed.
    pub close: u64,
    /// The size of the answer.
    pub bytes: Option<u64>,
    /// Response headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// A response trailer.
    pub trailer: Option<(HeaderName, HeaderValue)>,
}

impl Knobs {
    /// Reads the wishes of a request; what cannot be understood is left out.
    pub fn of(parts: &Parts) -> Self {
        let mut knobs = Self {
            key: parts.uri.path().to_owned(),
            ..Self::default()
        };
        for (name, value) in &parts.headers {
            if let (Some(name), Ok(value)) = (name.as_str().strip_prefix("x-echo-"), value.to_str())
            {
                knobs.set(name, value);
            }
        }
        for (name, value) in query(parts.uri.query().unwrap_or_default()) {
            knobs.set(&name, &value);
        }
        knobs
    }

    /// The status for the request that is the `nth` of its key, counted from 1.
    pub fn status_of(&self, nth: u64) -> StatusCode {
        if nth <= self.fail {
            return self.fail_status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        }
        self.status.unwrap_or(StatusCode::OK)
    }

    /// The wait of the request that is the `nth` of its key.
    pub fn delay_of(&self, nth: u64) -> Duration {
        match self.delay_first {
            Some(first) if nth > first => Duration::ZERO,
            _ => self.delay,
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        match name {
            "key" => value.clone_into(&mut self.key),
            "status" => self.status = value.parse().ok(),
            "fail" => self.fail = value.parse().unwrap_or_default(),
            "fail-status" => self.fail_status = value.parse().ok(),
            "delay" => self.delay = milliseconds(value),
            "delay-first" => {
                let (first, delay) = value.split_once(':').unwrap_or((value, "0"));
                self.delay_first = first.parse().ok();
                self.delay = milliseconds(delay);
            }
            "close" => self.close = value.parse().unwrap_or(u64::MAX),
            "bytes" => self.bytes = value.parse().ok(),
            "header" => self.headers.extend(field(value)),
            "trailer" => self.trailer = field(value),
            _ => {}
        }
    }
}

/// A standing order for all requests of a pod.
#[derive(Debug, Default)]
pub struct Control {
    status: AtomicU64,
    delay_ms: AtomicU64,
}

impl Control {
    /// Takes the order in `parts`; what is not named goes back to normal.
    pub fn set(&self, parts: &Parts) {
        let order: BTreeMap<_, _> = query(parts.uri.query().unwrap_or_default()).collect();
        let number = |name: &str| order.get(name).and_then(|value| value.parse().ok());
        self.status
            .store(number("status").unwrap_or(0), Ordering::Relaxed);
        self.delay_ms
            .store(number("delay").unwrap_or(0), Ordering::Relaxed);
    }

    /// The status that all requests get, if one is ordered.
    pub fn status(&self) -> Option<StatusCode> {
        let status = u16::try_from(self.status.load(Ordering::Relaxed)).ok()?;
        StatusCode::from_u16(status).ok()
    }

    /// The wait that all requests get.
    pub fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms.load(Ordering::Relaxed)).min(DELAY_MAX)
    }
}

fn query(query: &str) -> impl Iterator<Item = (String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
            (name.to_owned(), value)
        })
}

fn milliseconds(value: &str) -> Duration {
    Duration::from_millis(value.parse().unwrap_or_default()).min(DELAY_MAX)
}

fn field(value: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = value.split_once(':')?;
    Some((name.parse().ok()?, value.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knobs(uri: &str) -> Knobs {
        let request = http::Request::get(uri).header("x-echo-key", "k").body(());
        Knobs::of(&request.unwrap().into_parts().0)
    }

    #[test]
    fn query_and_headers_are_read() {
        let expected = Knobs {
            key: "k".to_owned(),
            fail: 2,
            delay: Duration::from_millis(50),
            trailer: field("x-sum:1"),
            ..Knobs::default()
        };
        assert_eq!(
            knobs("/a?fail=2&delay=50&trailer=x-sum%3A1&unknown=1"),
            expected
        );
    }

    #[test]
    fn only_the_first_requests_of_a_key_fail_or_wait() {
        let knobs = knobs("/?fail=2&fail-status=500&delay-first=1:80&status=201");
        let seen: Vec<_> = (1..=3)
            .map(|nth| {
                (
                    knobs.status_of(nth).as_u16(),
                    knobs.delay_of(nth).as_millis(),
                )
            })
            .collect();
        assert_eq!(seen, [(500, 80), (500, 0), (201, 0)]);
    }
}
