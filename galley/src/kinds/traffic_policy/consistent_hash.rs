//! `consistentHash`: the endpoint follows from a key of the request.

use std::collections::BTreeSet;

use mesh_api::traffic_policy::load_balancer::{ConsistentHash, HashAlgorithm, HashKey};

use crate::decode::jsonpb::GoDuration;
use crate::kinds::definition::constraint::at_most_one;
use crate::kinds::findings::Findings;
use crate::kinds::rules::{self, some};
use crate::kinds::wire::wire;
use crate::manifest::path::FieldPath;

const RING_SIZE_DEFAULT: u64 = 1024;
const MAGLEV_TABLE_DEFAULT: u64 = 65537;

/// Envoy's limit of Maglev tables.
const MAGLEV_TABLE_MAX: u64 = 5_000_011;

wire! {
    #[schemars(extend("allOf" = [
        {"oneOf": at_most_one(&["httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName"])},
        {"oneOf": at_most_one(&["ringHash", "maglev"])},
    ]))]
    WireHash {
        /// The key is the value of this request header.
        http_header_name: Option<String>,
        /// The key is the value of this query parameter.
        http_query_parameter_name: Option<String>,
        /// True: the key is the client's IP address. False disables consistent hashing.
        use_source_ip: Option<bool>,
        /// The key is the value of this cookie.
        http_cookie: Option<HttpCookie>,
        /// Hashing on a ring (Ketama). The default.
        ring_hash: Option<RingHash>,
        /// Hashing by a Maglev table: faster, but more keys move when endpoints change.
        maglev: Option<Maglev>,
        /// Deprecated: use ringHash.
        minimum_ring_size: u64,
    }

    #[schemars(extend("required" = ["name"]))]
    HttpCookie {
        /// Name of the cookie.
        name: String,
        /// Path of the cookie that is made.
        path: String,
        /// Lifetime of the cookie that is made for a request without it, at least 1ms; 0s makes a session cookie.
        /// By default none is made.
        ttl: Option<GoDuration>,
        /// Further attributes of the cookie that is made, such as SameSite.
        attributes: Vec<CookieAttribute>,
    }

    #[schemars(extend("required" = ["name"]))]
    CookieAttribute {
        /// Name of the attribute.
        name: String,
        /// Value of the attribute.
        value: String,
    }

    RingHash {
        /// Minimum number of points on the ring; more give a more even distribution. 1024 by default.
        minimum_ring_size: u64,
    }

    Maglev {
        /// Size of the table, a prime below 5000011. 65537 by default.
        table_size: u64,
    }
}

/// Nothing if the only key is `useSourceIp: false`, which asks for no hashing.
pub(super) fn read(
    wire: &WireHash,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<ConsistentHash> {
    let key = key(wire, path, findings);
    let algorithm = algorithm(wire, path, findings);
    Some(ConsistentHash {
        key: key?,
        algorithm,
    })
}

fn key(wire: &WireHash, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> Option<HashKey> {
    let keys = [
        ("httpHeaderName", wire.http_header_name.is_some()),
        ("httpCookie", wire.http_cookie.is_some()),
        ("useSourceIp", wire.use_source_ip.is_some()),
        (
            "httpQueryParameterName",
            wire.http_query_parameter_name.is_some(),
        ),
    ];
    if rules::at_most_one(&keys, path, findings) == 0 {
        findings
            .error(path, "nothing is hashed")
            .suggest("set httpHeaderName, httpCookie, useSourceIp or httpQueryParameterName");
    }
    for (field, name) in [
        ("httpHeaderName", &wire.http_header_name),
        ("httpQueryParameterName", &wire.http_query_parameter_name),
    ] {
        if name.as_deref() == Some("") {
            findings.error(&path.field(field), "the name is empty");
        }
    }
    let cookie = wire.http_cookie.as_ref();
    let cookie = cookie.map(|wire| cookie_key(wire, &path.field("httpCookie"), findings));
    let header = wire.http_header_name.as_deref();
    let parameter = wire.http_query_parameter_name.as_deref();
    let address = (wire.use_source_ip == Some(true)).then_some(HashKey::SourceIp);
    header
        .map(|name| HashKey::Header(name.into()))
        .or_else(|| parameter.map(|name| HashKey::QueryParameter(name.into())))
        .or(cookie)
        .or(address)
}

fn cookie_key(wire: &HttpCookie, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> HashKey {
    if wire.name.is_empty() {
        findings.error(&path.field("name"), "the cookie needs a name");
    }
    rules::duration_or_zero(wire.ttl, &path.field("ttl"), findings);
    let list = path.field("attributes");
    let mut seen = BTreeSet::new();
    for (index, attribute) in wire.attributes.iter().enumerate() {
        let at = list.index(index);
        if attribute.name.is_empty() {
            findings.error(&at.field("name"), "the attribute needs a name");
        } else if !seen.insert(&attribute.name) {
            findings.error(&at, format!("duplicate attribute \"{}\"", attribute.name));
        }
    }
    let attributes = wire.attributes.iter();
    HashKey::Cookie {
        name: wire.name.as_str().into(),
        path: some(&wire.path),
        ttl: wire.ttl.map(|ttl| ttl.0),
        attributes: attributes
            .map(|one| (one.name.as_str().into(), one.value.as_str().into()))
            .collect(),
    }
}

fn algorithm(wire: &WireHash, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> HashAlgorithm {
    let algorithms = [
        ("ringHash", wire.ring_hash.is_some()),
        ("maglev", wire.maglev.is_some()),
    ];
    rules::at_most_one(&algorithms, path, findings);
    if let Some(size) = wire.maglev.as_ref().map(|maglev| maglev.table_size)
        && size != 0
        && (size >= MAGLEV_TABLE_MAX || !is_prime(size))
    {
        let message = format!("{size} is not a prime below {MAGLEV_TABLE_MAX}");
        findings.error(&path.field("maglev").field("tableSize"), message);
    }
    if wire.minimum_ring_size != 0 {
        findings.deprecated(
            &path.field("minimumRingSize"),
            "ringHash: {minimumRingSize: N}",
        );
    }
    let or_default = |value, default| if value == 0 { default } else { value };
    match (&wire.maglev, &wire.ring_hash) {
        (Some(maglev), _) => HashAlgorithm::Maglev {
            table_size: or_default(maglev.table_size, MAGLEV_TABLE_DEFAULT),
        },
        (None, Some(ring)) => HashAlgorithm::RingHash {
            minimum_ring_size: or_default(ring.minimum_ring_size, RING_SIZE_DEFAULT),
        },
        (None, None) => HashAlgorithm::RingHash {
            minimum_ring_size: or_default(wire.minimum_ring_size, RING_SIZE_DEFAULT),
        },
    }
}

/// Miller and Rabin's test, which with these bases is exact below 25,326,001. A search for divisors would take
/// thousands of steps for each of many policies.
fn is_prime(number: u64) -> bool {
    const BASES: [u64; 3] = [2, 3, 5];
    if number < 2 {
        return false;
    }
    if let Some(base) = BASES.into_iter().find(|base| number.is_multiple_of(*base)) {
        return number == base;
    }
    let twos = (number - 1).trailing_zeros();
    let odd = (number - 1) >> twos;
    BASES.into_iter().all(|base| {
        let mut power = power_modulo(base, odd, number);
        let witness = power != 1
            && (0..twos).all(|_| {
                let composite = power != number - 1;
                power = power * power % number;
                composite
            });
        !witness
    })
}

fn power_modulo(mut base: u64, mut exponent: u64, modulus: u64) -> u64 {
    let mut power = 1;
    while exponent > 0 {
        if exponent % 2 == 1 {
            power = power * base % modulus;
        }
        base = base * base % modulus;
        exponent /= 2;
    }
    power
}

#[cfg(test)]
mod tests {
    use super::is_prime;

    #[test]
    fn primes_are_those_without_divisors() {
        let divided = |n: u64| {
            n >= 2
                && (2..)
                    .take_while(|d| d * d <= n)
                    .all(|d| !n.is_multiple_of(d))
        };
        for number in (0..20_000).chain(4_999_000..5_000_011) {
            assert_eq!(is_prime(number), divided(number), "{number}");
        }
    }
}
