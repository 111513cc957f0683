//! `AuthorizationPolicy`, security.istio.io. Source: Istio
//! `validation.ValidateAuthorizationPolicy`.

mod condition;
mod operation;
mod source;
mod text;

use std::sync::Arc;

use mesh_api::authz::{AuthorizationPolicy, AuthzAction, AuthzRule};
use mesh_api::resource::Meta;

use self::condition::WireCondition;
use self::operation::WireOperation;
use self::source::WireSource;
use super::definition::constraint::one_target;
use super::definition::{Column, Definition};
use super::descriptor::Descriptor;
use super::findings::Findings;
use super::read::Read;
use super::rules::{self, each};
use super::scope::Scope;
use super::stand_in::{self, deny_all};
use super::wire::{LabelSelector, TargetRef, wire};
use crate::decode::jsonpb::wire_enum;
use crate::manifest::path::FieldPath;

const DRY_RUN: &str = "istio.io/dry-run";

wire! {
    #[schemars(extend("x-kubernetes-validations" = [one_target()]))]
    AuthorizationPolicySpec {
        /// Selects the workloads of the namespace that the policy applies to. By default all of the namespace, and
        /// in the root namespace all of the mesh.
        selector: Option<LabelSelector>,
        /// Deprecated: use targetRefs.
        target_ref: Option<TargetRef>,
        /// Objects that the policy is attached to, instead of selector. Not supported yet.
        target_refs: Vec<TargetRef>,
        /// The action is taken for a request that matches one of the rules. Without rules no request matches, so an
        /// ALLOW policy denies every request.
        rules: Vec<WireRule>,
        /// ALLOW (default) denies requests to the workload that no ALLOW policy matches. DENY denies requests that
        /// match, before any ALLOW policy. CUSTOM leaves the decision to the provider; external authorization is
        /// not supported yet, so requests that match are denied. AUDIT has no effect yet.
        action: WireAction,
        /// Provider that decides, for action CUSTOM.
        provider: Option<Provider>,
    }

    #[schemars(extend("required" = ["name"]))]
    Provider {
        /// Name of the provider in meshConfig.extensionProviders.
        name: String,
    }

    WireRule {
        /// Sources, of which one must match. By default any source.
        from: Vec<From>,
        /// Operations, of which one must match. By default any operation.
        to: Vec<To>,
        /// Further conditions, all of which must match.
        when: Vec<WireCondition>,
    }

    From {
        /// The source of a request. All its fields must match.
        source: Option<WireSource>,
    }

    To {
        /// The operation of a request. All its fields must match.
        operation: Option<WireOperation>,
    }
}

wire_enum!(
    WireAction {
        #[default]
        Allow = "ALLOW" / 0,
        Deny = "DENY" / 1,
        Audit = "AUDIT" / 2,
        Custom = "CUSTOM" / 3,
    }
);

impl Read for AuthorizationPolicySpec {
    const KIND: Descriptor = Descriptor::defined(Definition {
        short_names: &["ap"],
        columns: &[
            Column::text("Action", ".spec.action", "What is done with a request"),
            Column::AGE,
        ],
        ..Definition::security::<Self>("AuthorizationPolicy", "authorizationpolicies")
    });

    const STAND_IN: Option<stand_in::Make> =
        Some(|meta, selector| deny_all(meta.clone(), selector));

    type Model = Arc<AuthorizationPolicy>;

    fn read(
        &self,
        scope: &Scope<'_>,
        findings: &mut Findings<'_>,
    ) -> Option<Arc<AuthorizationPolicy>> {
        let root = FieldPath::ROOT;
        let path = root.field("spec");
        let selector = rules::attachment(
            self.selector.as_ref(),
            self.target_ref.as_ref(),
            &self.target_refs,
            &path,
            findings,
        );
        let action = action(self, &path, findings);
        let list = path.field("rules");
        if self.rules.is_empty() && self.action != WireAction::Allow {
            findings
                .error(
                    &list,
                    "an action other than ALLOW needs rules, or it never has an effect",
                )
                .suggest("write rules: [{}] to match every request");
        }
        let dry_run = dry_run(scope.meta, findings);
        let rules = each(&self.rules, &list, findings, |wire, at, findings| {
            rule(wire, at, scope, findings)
        });
        Some(Arc::new(AuthorizationPolicy {
            meta: scope.meta.clone(),
            selector,
            action,
            rules: rules?,
            dry_run,
        }))
    }

    #[cfg(any(test, feature = "test-util"))]
    fn sample() -> serde_json::Value {
        serde_json::json!({"rules": [{"when": [{"key": "source.namespace", "values": ["a"]}]}]})
    }
}

fn action(
    spec: &AuthorizationPolicySpec,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> AuthzAction {
    let at = path.field("provider");
    let provider = spec.provider.as_ref();
    let provider = provider.map(|provider| provider.name.as_str());
    match (spec.action, provider) {
        (WireAction::Custom, None | Some("")) => {
            findings
                .error(&at, "action CUSTOM needs a provider")
                .suggest("add provider: {name: NAME} of meshConfig.extensionProviders");
        }
        (WireAction::Custom, Some(_)) => findings.without_effect(
            &at,
            "external authorization is not supported yet: requests that the rules match are denied",
        ),
        (_, Some(_)) => {
            findings.error(&at, "a provider is used only with action CUSTOM");
        }
        (_, None) => {}
    }
    match spec.action {
        WireAction::Allow => AuthzAction::Allow,
        WireAction::Deny => AuthzAction::Deny,
        WireAction::Audit => {
            let message = "auditing is not supported yet: the policy has no effect";
            findings.without_effect(&path.field("action"), message);
            AuthzAction::Audit
        }
        WireAction::Custom => AuthzAction::Custom {
            provider: provider.unwrap_or_default().into(),
        },
    }
}

fn dry_run(meta: &Meta, findings: &mut Findings<'_>) -> bool {
    let written = meta.annotations.get(DRY_RUN);
    if written.is_some_and(|value| !matches!(value, "true" | "false")) {
        findings.error(
            &FieldPath::ROOT.field("metadata").field("annotations"),
            "annotation \"istio.io/dry-run\" is neither \"true\" nor \"false\"",
        );
    }
    written == Some("true")
}

fn rule(
    wire: &WireRule,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<AuthzRule> {
    let from = each(
        &wire.from,
        &path.field("from"),
        findings,
        |from, at, findings| {
            let at = at.field("source");
            let written = from.source.as_ref();
            let Some(source) = written.filter(|source| **source != WireSource::default()) else {
                findings
                    .error(&at, "the source is empty")
                    .suggest("leave \"from\" out to match every source");
                return None;
            };
            source::read(source, &at, scope, findings)
        },
    );
    let to = each(&wire.to, &path.field("to"), findings, |to, at, findings| {
        let at = at.field("operation");
        let written = to.operation.as_ref();
        let Some(operation) = written.filter(|one| **one != WireOperation::default()) else {
            findings
                .error(&at, "the operation is empty")
                .suggest("leave \"to\" out to match every operation");
            return None;
        };
        operation::read(operation, &at, findings)
    });
    let when = each(&wire.when, &path.field("when"), findings, condition::read);
    Some(AuthzRule {
        from: from?,
        to: to?,
        when: when?,
    })
}
