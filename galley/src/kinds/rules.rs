//! What several kinds parse and check alike.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use mesh_api::hostname::Hostname;
use mesh_api::labels::{Labels, Selector};
use mesh_api::regex::RegexError;
use mesh_api::resource::Meta;

use super::findings::Findings;
use super::wire::{LabelSelector, TargetRef};
use crate::decode::finding::quoted;
use crate::decode::jsonpb::GoDuration;
use crate::manifest::path::FieldPath;

/// Reads every item of a list, so that all that is wrong is reported. The list is there if every item is.
pub(crate) fn each<'i, T, U>(
    items: &'i [T],
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
    mut read: impl FnMut(&'i T, &FieldPath<'_>, &mut Findings<'_>) -> Option<U>,
) -> Option<Vec<U>> {
    let mut all = Some(Vec::with_capacity(items.len()));
    for (index, item) in items.iter().enumerate() {
        let item = read(item, &path.index(index), findings);
        all = all.zip(item).map(|(mut all, item)| {
            all.push(item);
            all
        });
    }
    all
}

/// Empty text is an unset field.
pub(crate) fn some(text: &str) -> Option<Arc<str>> {
    (!text.is_empty()).then(|| text.into())
}

pub(crate) fn shared(texts: &[String]) -> Vec<Arc<str>> {
    texts.iter().map(|text| text.as_str().into()).collect()
}

/// RFC 1123 label, as Kubernetes names namespaces and Istio subsets.
pub(crate) fn is_dns_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// A host that a rule names: FQDN, short name or wildcard.
pub(crate) fn host(
    text: &str,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Hostname> {
    match Hostname::from_str(text) {
        Ok(host) => Some(host),
        Err(error) => {
            findings.error(path, error.to_string());
            None
        }
    }
}

/// 1 to 65535.
pub(crate) fn port(number: u32, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> Option<u16> {
    let port = u16::try_from(number).ok().filter(|number| *number > 0);
    if port.is_none() {
        findings.error(path, format!("port {number} is not between 1 and 65535"));
    }
    port
}

/// The same where 0 is an unset port.
pub(crate) fn port_or_unset(
    number: u32,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Option<u16>> {
    match number {
        0 => Some(None),
        number => port(number, path, findings).map(Some),
    }
}

/// Istio's CRDs refuse durations under a millisecond.
pub(crate) fn duration(
    duration: Option<GoDuration>,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    if let Some(GoDuration(duration)) = duration
        && duration < Duration::from_millis(1)
    {
        findings.error(path, "the duration must be at least 1ms");
    }
}

/// The same, with 0 for "off".
pub(crate) fn duration_or_zero(
    duration_: Option<GoDuration>,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    if duration_ != Some(GoDuration(Duration::ZERO)) {
        duration(duration_, path, findings);
    }
}

/// 0 to 100.
pub(crate) fn percent(value: f64, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    if !(0.0..=100.0).contains(&value) {
        findings.error(
            path,
            format!("{value} is not a percentage between 0 and 100"),
        );
    }
}

/// 0 or more.
pub(crate) fn not_negative(value: i32, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    if value < 0 {
        findings.error(path, format!("{value} must not be negative"));
    }
}

/// An address or a range.
pub(crate) fn parse_subnet(text: &str) -> Option<IpNet> {
    match text.contains('/') {
        true => text.parse::<IpNet>().ok(),
        false => text.parse::<std::net::IpAddr>().ok().map(IpNet::from),
    }
}

pub(crate) fn subnet(
    text: &str,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<IpNet> {
    let subnet = parse_subnet(text);
    if subnet.is_none() {
        findings
            .error(
                path,
                format!("\"{text}\" is neither an address nor a range"),
            )
            .suggest("write for example \"10.1.0.0/16\"");
    }
    subnet
}

/// A list of them.
pub(crate) fn subnets(
    texts: &[String],
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Vec<IpNet>> {
    each(texts, path, findings, |text, path, findings| {
        subnet(text, path, findings)
    })
}

/// RE2, by the compiler of the proxy.
pub(crate) fn regex(pattern: &str, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    if let Err(error) = findings.budget().written(pattern) {
        let message = format!("{} is not a regular expression: {error}", quoted(pattern));
        findings
            .error(path, message)
            .suggest("RE2 syntax, see https://github.com/google/re2/wiki/Syntax");
    }
}

/// An expression as it stands in a field.
pub(crate) fn written_regex(
    text: &str,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Arc<str>> {
    judged(findings.budget().written(text), text, path, findings)
}

/// An expression that is made of a field.
pub(crate) fn composed_regex(
    text: &str,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Arc<str>> {
    judged(findings.budget().expression(text), text, path, findings)
}

fn judged(
    judged: Result<(), RegexError>,
    text: &str,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Arc<str>> {
    if let Err(error) = judged {
        let message = format!("{} is not a regular expression: {error}", quoted(text));
        findings.error(path, message);
        return None;
    }
    Some(text.into())
}

/// `exportTo`: `.`, `*`, `~` or namespaces.
pub(crate) fn export_to(
    values: &[String],
    meta: &Meta,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    let mut seen = BTreeSet::new();
    for (index, value) in values.iter().enumerate() {
        let path = path.index(index);
        match value.as_str() {
            "*" | "~" if values.len() > 1 => {
                findings.error(
                    &path,
                    format!("\"{value}\" cannot stand beside other namespaces"),
                );
            }
            "*" | "~" | "." => {}
            namespace if is_dns_label(namespace) => {}
            other => {
                findings
                    .error(&path, format!("\"{other}\" is not a namespace"))
                    .suggest("write \".\", \"*\", \"~\" or the name of a namespace");
            }
        }
        let namespace = if value == "." {
            meta.namespace()
        } else {
            value
        };
        if !seen.insert(namespace) {
            findings.error(&path, format!("\"{value}\" names a namespace twice"));
        }
    }
}

/// Labels that something is selected by.
pub(crate) fn labels(
    labels: &BTreeMap<String, String>,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Labels {
    for (key, value) in labels {
        let path = path.field(key);
        let (prefix, name) = key.rsplit_once('/').unwrap_or(("", key));
        let legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
        let ends = |text: &str| {
            text.bytes()
                .next()
                .is_none_or(|b| b.is_ascii_alphanumeric())
                && text
                    .bytes()
                    .last()
                    .is_none_or(|b| b.is_ascii_alphanumeric())
        };
        let name_legal = (1..=63).contains(&name.len()) && name.bytes().all(legal) && ends(name);
        if !name_legal || prefix.len() > 253 || key.starts_with('/') {
            findings.error(&path, format!("\"{key}\" is not a legal label key"));
        }
        if value.contains('*') {
            findings
                .error(
                    &path,
                    format!("wildcard \"{value}\" is not supported in a selector"),
                )
                .suggest("select by the label's exact value");
        } else if value.len() > 63 || !value.bytes().all(legal) || !ends(value) {
            findings.error(&path, format!("\"{value}\" is not a legal label value"));
        }
    }
    labels.iter().collect()
}

/// The attachment of a policy: `selector` or `targetRefs`, not both. Nothing selects every workload.
pub(crate) fn attachment(
    selector: Option<&LabelSelector>,
    target_ref: Option<&TargetRef>,
    target_refs: &[TargetRef],
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Selector> {
    let selector = selector.map(|selector| {
        let at = path.field("selector");
        let match_labels = at.field("matchLabels");
        let labels = labels(&selector.match_labels, &match_labels, findings);
        if selector.match_labels.is_empty() {
            findings.warn(&at, "the selector has no labels and selects every workload");
        }
        labels
    });
    let message = "attaching a policy by target reference is not supported yet; without it \
                   the policy would apply to other workloads";
    if target_ref.is_some() {
        findings.refuse_unsupported(&path.field("targetRef"), message);
    }
    if !target_refs.is_empty() {
        findings.refuse_unsupported(&path.field("targetRefs"), message);
    }
    let labels = selector.filter(|labels| !labels.is_empty())?;
    Some(Selector::new(labels))
}

/// At most one of several fields may be set; returns how many are.
pub(crate) fn at_most_one(
    set: &[(&str, bool)],
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> usize {
    let names: Vec<_> = set
        .iter()
        .filter(|(_, set)| *set)
        .map(|(name, _)| *name)
        .collect();
    if names.len() > 1 {
        let quoted: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
        findings.error(
            path,
            format!("only one of {} may be set", quoted.join(", ")),
        );
    }
    names.len()
}

/// A header name as HTTP allows it (RFC 9110 token).
pub(crate) fn is_header_name(name: &str) -> bool {
    http::HeaderName::from_bytes(name.as_bytes()).is_ok()
}
