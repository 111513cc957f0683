//! Small languages inside of fields: expressions, formats, durations, names.

use std::time::Duration;

use galley::decode::jsonpb::{Base64, GoDuration, parse_duration};
use mesh_api::hostname::Hostname;
use mesh_api::identity::{SpiffeId, TrustDomain};
use mesh_api::locality::Locality;
use mesh_api::regex::{Expression, PROGRAM_SIZE_MAX, Regex};
use proxy::config::format::Format;
use proxy::telemetry::access_log::Captures;
use proxy::telemetry::log_format;

use crate::target::{Outcome, Target, kind_of, magnitude, outcome};

const OPERATORS: &[&str] = &[
    "%",
    "%%",
    "%REQ(",
    ")%",
    "%REQ(A?B):10%",
    "%RESP(a)%",
    "%START_TIME(",
    "%START_TIME(%s.%6f)%",
    "%DYNAMIC_METADATA(a:b)%",
    "%FILTER_STATE(a)%",
    "%RESPONSE_CODE%",
    "%DURATION%",
    "%HOSTNAME%",
    ":PATH",
    "?",
    ":",
    "%BYTES_SENT%",
    "%DOWNSTREAM_REMOTE_ADDRESS%",
    "%COMMON_DURATION(DS_RX_BEG:US_TX_BEG:ms)%",
    "%UPSTREAM_METADATA([\"a\", \"b\"])%",
    "%E3S",
    "%Z",
    ":4294967296",
];

pub(super) static TARGETS: &[Target] = &[
    Target::new("regex", regex)
        .dictionary(&[
            "(",
            ")",
            "(?:",
            "(?i)",
            "(?P<a>",
            "[",
            "]",
            "[^",
            "[[:alpha:]]",
            "\\p{Greek}",
            "\\pN",
            "{1000}",
            "{2,}",
            "{,3}",
            "*",
            "+?",
            "|",
            "^",
            "$",
            "\\b",
            "\\x{10FFFF}",
            "\\Q",
            "\\E",
            "\\C",
            ".",
            "a-z",
        ])
        .bytes_max(2 << 10)
        .limits(Duration::from_secs(5), 64 << 20),
    Target::new("log-format", log_line).dictionary(OPERATORS),
    Target::new("header-format", header_value).dictionary(OPERATORS),
    Target::new("duration", duration)
        .dictionary(&["ns", "us", "µs", "ms", "s", "m", "h", ".", "-", "0"]),
    Target::new("names", names).dictionary(&[
        "*.",
        "*",
        ".",
        "spiffe://",
        "/ns/",
        "/sa/",
        "cluster.local",
        "/",
        "@",
        "é",
        "\u{0}",
        "-",
    ]),
];

/// What was understood can be compiled, within the size that it was said to have.
fn regex(input: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(input);
    let expression = match Expression::parse(&text) {
        Ok(expression) => expression,
        Err(error) => {
            assert!(Regex::full_match(&text).is_err());
            return kind_of(&error.to_string());
        }
    };
    let size = expression.program_size();
    assert!(size <= PROGRAM_SIZE_MAX);
    let whole = Regex::full_match(&text).expect("the expression was understood");
    let part = Regex::partial_match(&text).expect("the expression was understood");
    let value = b"/reviews/0?a=b\xff\xc3\xa9\n";
    let matches = (whole.is_match(value), part.is_match(value));
    assert!(
        !matches.0 || matches.1,
        "the whole matches and no part of it"
    );
    let replaced = part.replace_all("/reviews/0", "\\1x");
    outcome((magnitude(size as usize), matches, magnitude(replaced.len())))
}

fn log_line(input: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(input);
    let mut captures = Captures::default();
    match log_format::parse(&text, &mut captures) {
        Ok(pieces) => outcome(
            pieces
                .iter()
                .map(std::mem::discriminant)
                .take(8)
                .collect::<Vec<_>>(),
        ),
        Err(error) => kind_of(&error.to_string()),
    }
}

fn header_value(input: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(input);
    match Format::parse(&text) {
        Ok(format) => outcome((
            format.reads_request(),
            format.as_literal().map(|l| magnitude(l.len())),
        )),
        Err(error) => kind_of(&error.to_string()),
    }
}

/// A duration in a JSON string is the same as one in plain text.
fn duration(input: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(input);
    let plain = parse_duration(&text);
    let json = serde_json::Value::from(text.as_ref());
    let quoted = serde_json::from_value::<GoDuration>(json.clone());
    assert_eq!(
        plain.as_ref().ok(),
        quoted.as_ref().ok().map(|quoted| &quoted.0)
    );
    let bytes = serde_json::from_value::<Base64>(json).is_ok();
    let kind = match plain {
        Ok(duration) => outcome(magnitude(duration.as_nanos() as usize)),
        Err(error) => kind_of(&error.to_string()),
    };
    outcome((kind, bytes))
}

/// A name that was understood is written as it was read.
fn names(input: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(input);
    let hostname = text.parse::<Hostname>();
    let domain = text.parse::<TrustDomain>();
    let identity = text.parse::<SpiffeId>();
    let locality = text.parse::<Locality>();
    if let Ok(identity) = &identity {
        assert_eq!(identity.to_string().parse().as_ref(), Ok(identity));
    }
    if let Ok(hostname) = &hostname {
        assert_eq!(hostname.to_string().parse().as_ref(), Ok(hostname));
    }
    let kind = |error: Option<String>| error.map(|error| kind_of(&error));
    outcome([
        kind(hostname.err().map(|error| error.to_string())),
        kind(domain.err().map(|error| error.to_string())),
        kind(identity.err().map(|error| error.to_string())),
        kind(locality.err().map(|error| error.to_string())),
    ])
}
