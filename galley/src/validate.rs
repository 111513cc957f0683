//! Rules on a single object: everything that can be said without looking at others.
//!
//! An error refuses the object, a warning admits it. Messages quote the offending
//! value; suggestions say what to write instead. One file per kind.

mod authorization_policy;
mod destination_rule;
mod gateway;
mod mesh_config;
mod metadata;
mod operators;
mod peer_authentication;
mod request_authentication;
mod rules;
mod service_entry;
mod sidecar;
mod telemetry;
mod traffic_policy;
mod virtual_service;

pub(crate) use self::rules::parse_subnet;

use mesh_api::diagnostic::Severity;
use mesh_api::resource::Meta;

use crate::decode::finding::{FINDINGS_MAX, Finding, code, cut};
use crate::manifest::node::Node;
use crate::manifest::path::FieldPath;
use crate::normalize::Context;
use crate::object::Spec;
use crate::work::Budget;

/// Checks an object.
pub(crate) fn validate(
    meta: &Meta,
    spec: &Spec,
    context: &Context<'_>,
    findings: &mut Findings<'_>,
) {
    let root = FieldPath::ROOT;
    let path = root.field("spec");
    metadata::validate(meta, findings);
    match spec {
        // The API server's own validation has passed these, and `normalize` reports
        // what it cannot use.
        Spec::Namespace(_)
        | Spec::Node(_)
        | Spec::Secret(_)
        | Spec::ServiceAccount(_)
        | Spec::Pod(_)
        | Spec::Service(_)
        | Spec::EndpointSlice(_)
        | Spec::Role(_)
        | Spec::ClusterRole(_)
        | Spec::RoleBinding(_)
        | Spec::ClusterRoleBinding(_)
        | Spec::Ingress(_)
        | Spec::IngressClass(_)
        | Spec::GatewayClass(_)
        | Spec::KubernetesGateway(_)
        | Spec::HttpRoute(_)
        | Spec::GrpcRoute(_)
        | Spec::TlsRoute(_)
        | Spec::TcpRoute(_)
        | Spec::ReferenceGrant(_) => {}
        Spec::ConfigMap(map) => mesh_config::validate(map, meta, context, findings),
        Spec::ServiceEntry(spec) => service_entry::validate(spec, meta, &path, findings),
        Spec::WorkloadEntry(spec) => service_entry::validate_workload(spec, true, &path, findings),
        Spec::Gateway(spec) => gateway::validate(spec, &path, findings),
        Spec::VirtualService(spec) => virtual_service::validate(spec, meta, &path, findings),
        Spec::DestinationRule(spec) => destination_rule::validate(spec, meta, &path, findings),
        Spec::Sidecar(spec) => sidecar::validate(spec, &path, findings),
        Spec::PeerAuthentication(spec) => peer_authentication::validate(spec, &path, findings),
        Spec::RequestAuthentication(spec) => {
            request_authentication::validate(spec, &path, findings);
        }
        Spec::AuthorizationPolicy(spec) => {
            authorization_policy::validate(spec, meta, &path, findings);
        }
        Spec::Telemetry(spec) => telemetry::validate(spec, &path, findings),
    }
}

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

    /// A reason to refuse the object.
    pub(crate) fn error(&mut self, path: &FieldPath<'_>, message: impl Into<String>) -> Remark<'_> {
        self.push(code::SCHEMA, Severity::Error, path, message.into())
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
