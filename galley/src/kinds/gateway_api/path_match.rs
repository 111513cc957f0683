//! Conditions on paths, headers and parameters that HTTPRoute and GRPCRoute share.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_api::route::Matchers;
use mesh_api::route::matcher::StringMatch;

use crate::kinds::findings::Findings;
use crate::kinds::rules;
use crate::kinds::wire::wire;
use crate::manifest::path::FieldPath;

wire! {
    WireNamedMatch {
        r#type: Option<String>,
        name: String,
        value: String,
    }
}

/// `path`, best first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathMatch {
    /// The whole path.
    Exact(Arc<str>),
    /// Whole segments, without last slash; empty for every path.
    Prefix(Arc<str>),
    /// RE2.
    Regex(Arc<str>),
}

/// Names of headers have no case.
pub(super) fn lower_case(matchers: Matchers) -> Matchers {
    let matchers = matchers.into_iter();
    matchers
        .map(|(name, value)| (name.to_ascii_lowercase().into(), value))
        .collect()
}

/// Of several matches of one name the first counts.
pub(super) fn named(
    list: &[WireNamedMatch],
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Matchers> {
    let matchers = rules::each(list, path, findings, |wire, at, findings| {
        let matcher = match wire.r#type.as_deref() {
            Some("RegularExpression") => {
                StringMatch::Regex(rules::written_regex(&wire.value, at, findings)?)
            }
            _ => StringMatch::Exact(wire.value.as_str().into()),
        };
        Some((Arc::from(wire.name.as_str()), matcher))
    })?;
    let mut by_name = BTreeMap::new();
    for (name, matcher) in matchers {
        by_name.entry(name).or_insert(matcher);
    }
    Some(by_name)
}
