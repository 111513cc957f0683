//! Certificates that a proxy holds, from `/certs` (`envoy.admin.v3.Certificates`). Keys are never shown.

use std::process::ExitCode;

use serde_json::Value;

use super::dump::{items, joined, text};
use crate::output::{self, Format};

const HEADING: [&str; 6] = [
    "kind",
    "names",
    "serial number",
    "valid from",
    "expires",
    "days left",
];

/// Prints certificates; exit code 1 if there is none, because then nothing can be authenticated.
pub(super) fn print(format: Format, certificates: &Value) -> anyhow::Result<ExitCode> {
    let all: Vec<&Value> = items(&certificates["certificates"]).collect();
    if format == Format::Table {
        let mut rows: Vec<Vec<String>> = all.iter().flat_map(|one| rows(one)).collect();
        rows.sort();
        rows.dedup();
        output::line(&output::table(&HEADING, rows))?;
    } else {
        output::structured(format, certificates)?;
    }
    Ok(if all.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn rows(certificate: &Value) -> Vec<Vec<String>> {
    let of = |field: &'static str, kind: &'static str| {
        items(&certificate[field]).map(move |one| row(one, kind))
    };
    of("cert_chain", "chain")
        .chain(of("ca_cert", "root"))
        .collect()
}

fn row(details: &Value, kind: &str) -> Vec<String> {
    let names = items(&details["subject_alt_names"]);
    let names = names.filter_map(|name| {
        name["uri"]
            .as_str()
            .or_else(|| name["dns"].as_str())
            .map(str::to_owned)
    });
    let days = &details["days_until_expiration"];
    let days = days
        .as_str()
        .map_or_else(|| days.to_string(), str::to_owned);
    vec![
        kind.to_owned(),
        joined(names, "-"),
        text(details, "serial_number"),
        text(details, "valid_from"),
        text(details, "expiration_time"),
        days,
    ]
}
