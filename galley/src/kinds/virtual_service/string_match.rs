//! Conditions on texts.

use mesh_api::route::matcher::StringMatch;

use crate::kinds::definition::constraint::at_most_one;
use crate::kinds::findings::Findings;
use crate::kinds::rules;
use crate::kinds::wire::wire;
use crate::manifest::path::FieldPath;

wire! {
    #[schemars(extend("oneOf" = at_most_one(&["exact", "prefix", "regex"])))]
    WireStringMatch {
        /// The whole text.
        exact: Option<String>,
        /// The beginning of the text.
        prefix: Option<String>,
        /// A regular expression (RE2 syntax) that matches the whole text.
        regex: Option<String>,
    }
}

/// `presence`: a matcher without condition, or with the expression `*`, means that the value is there.
pub(super) fn read(
    wire: &WireStringMatch,
    presence: bool,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> StringMatch {
    let set = [
        ("exact", wire.exact.is_some()),
        ("prefix", wire.prefix.is_some()),
        ("regex", wire.regex.is_some()),
    ];
    if rules::at_most_one(&set, path, findings) == 0 && !presence {
        findings
            .error(path, "the matcher has no condition")
            .suggest("write exact, prefix or regex");
    }
    if wire.prefix.as_deref() == Some("") {
        findings.error(&path.field("prefix"), "the prefix is empty");
    }
    match wire.regex.as_deref() {
        Some("") => {
            findings.error(&path.field("regex"), "the expression is empty");
        }
        // Istio reads a lone star as "any value".
        Some("*") if presence => {}
        Some(pattern) => rules::regex(pattern, &path.field("regex"), findings),
        None => {}
    }
    match (&wire.exact, &wire.prefix, &wire.regex) {
        (Some(exact), _, _) => StringMatch::Exact(exact.as_str().into()),
        (_, Some(prefix), _) => StringMatch::Prefix(prefix.as_str().into()),
        (_, _, Some(regex)) if regex != "*" => StringMatch::Regex(regex.as_str().into()),
        _ => StringMatch::Present,
    }
}
