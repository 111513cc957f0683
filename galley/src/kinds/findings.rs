//! What is found in one object while it is read.

use mesh_api::diagnostic::Severity;

use crate::decode::finding::{FINDINGS_MAX, Finding, code, cut};
use crate::manifest::node::Node;
use crate::manifest::path::FieldPath;
use crate::work::Budget;

/// Collects what the rules find, with positions looked up in the object's text.
///
/// Of each severity as many findings are kept as anyone reads. The others are counted, since an object may have a
/// hundred thousand, and looking up the position of one takes time in proportion to the object.
#[derive(Debug)]
pub(crate) struct Findings<'a> {
    root: &'a Node,
    budget: &'a Budget,
    found: Vec<Finding>,
    errors: usize,
    warnings: usize,
}

impl<'a> Findings<'a> {
    /// Nothing found yet in the object `root`.
    pub(crate) fn new(root: &'a Node, budget: &'a Budget) -> Self {
        Self {
            root,
            budget,
            found: Vec::new(),
            errors: 0,
            warnings: 0,
        }
    }

    /// What the object may still cost.
    pub(crate) fn budget(&self) -> &'a Budget {
        self.budget
    }

    /// Takes steps for what is made of a field. Nothing once the object has taken more than it may.
    pub(crate) fn spend(&mut self, steps: usize, path: &FieldPath<'_>) -> Option<()> {
        match self.budget.spend(steps as u64) {
            Ok(()) => Some(()),
            Err(exhausted) => {
                self.consequence(path, exhausted.to_string());
                None
            }
        }
    }

    /// A reason to refuse the object.
    pub(crate) fn error(&mut self, path: &FieldPath<'_>, message: impl Into<String>) -> Remark<'_> {
        self.push(code::SCHEMA, Severity::Error, path, message.into())
    }

    /// A reason to refuse the object that may follow from another one, such as a host that is
    /// completed by an illegal namespace. It is left out if there is another one already.
    pub(crate) fn consequence(&mut self, path: &FieldPath<'_>, message: impl Into<String>) {
        if !self.has_errors() {
            self.error(path, message);
        }
    }

    /// Admitted, but probably not what was meant.
    pub(crate) fn warn(&mut self, path: &FieldPath<'_>, message: impl Into<String>) -> Remark<'_> {
        self.push(code::SCHEMA, Severity::Warning, path, message.into())
    }

    /// A rule that is never reached.
    pub(crate) fn unreachable(&mut self, path: &FieldPath<'_>, message: String) {
        self.push(code::UNREACHABLE, Severity::Warning, path, message);
    }

    /// A field that still works and has a successor.
    pub(crate) fn deprecated(&mut self, path: &FieldPath<'_>, instead: &str) {
        let message = "the field is deprecated".to_owned();
        self.push(code::DEPRECATED, Severity::Warning, path, message)
            .suggest(format!("use \"{instead}\""));
    }

    /// A field that Istio knows and that has no effect here.
    pub(crate) fn not_supported(&mut self, path: &FieldPath<'_>) {
        self.without_effect(path, "not supported yet: the field has no effect");
    }

    /// The same, with what happens instead.
    pub(crate) fn without_effect(&mut self, path: &FieldPath<'_>, message: &str) {
        self.push(
            code::NOT_SUPPORTED,
            Severity::Warning,
            path,
            message.to_owned(),
        );
    }

    /// A field that Istio knows, and without which the object would do harm.
    pub(crate) fn refuse_unsupported(&mut self, path: &FieldPath<'_>, message: &str) {
        self.push(
            code::NOT_SUPPORTED,
            Severity::Error,
            path,
            message.to_owned(),
        );
    }

    /// A finding that was made elsewhere.
    pub(crate) fn add(&mut self, finding: Finding) {
        if self.counts(finding.severity) {
            self.found.push(finding);
        }
    }

    /// The whole object.
    pub(crate) fn root(&self) -> &'a Node {
        self.root
    }

    /// True once something refuses the object.
    pub(crate) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// All findings in the order of the rules, and how many more there are.
    pub(crate) fn into_vec(self) -> Vec<Finding> {
        let mut found = self.found;
        for (severity, count) in [
            (Severity::Error, self.errors),
            (Severity::Warning, self.warnings),
        ] {
            let last = found.iter().rfind(|one| one.severity == severity);
            if let Some(last) = last.filter(|_| count > FINDINGS_MAX) {
                found.push(last.more(count - FINDINGS_MAX));
            }
        }
        found
    }

    fn push(
        &mut self,
        code: &'static str,
        severity: Severity,
        path: &FieldPath<'_>,
        message: String,
    ) -> Remark<'_> {
        if !self.counts(severity) {
            return Remark(None);
        }
        let mut finding =
            Finding::error(code, path.to_string(), message).at(path.position_in(self.root));
        finding.severity = severity;
        self.found.push(finding);
        Remark(self.found.last_mut())
    }

    /// Counts a finding. False if it is one too many to be kept.
    fn counts(&mut self, severity: Severity) -> bool {
        let count = match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning | Severity::Info => &mut self.warnings,
        };
        *count += 1;
        *count <= FINDINGS_MAX
    }
}

/// A finding that may still be given advice, if it was kept.
#[derive(Debug)]
pub(crate) struct Remark<'a>(Option<&'a mut Finding>);

impl Remark<'_> {
    /// Says what to write instead.
    pub(crate) fn suggest(self, suggestion: impl Into<String>) {
        self.suggest_with(|| Some(suggestion));
    }

    /// The same where the advice takes a search, which is made only if someone reads it.
    pub(crate) fn suggest_with<T: Into<String>>(self, suggestion: impl FnOnce() -> Option<T>) {
        if let Some(finding) = self.0 {
            finding.suggestion = suggestion().map(|text| cut(text.into()));
        }
    }
}
