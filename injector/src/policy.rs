//! Whether a pod is injected, and why.
//!
//! On Kubernetes the selectors of the webhook have asked about the namespace before we see the pod; offline
//! and in a local mesh nobody has. Where the namespace's labels are known the whole question is answered
//! here; where they are not, the selectors are taken to have said yes.

mod selector;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::config::InjectorConfig;
use crate::json::string_map;
pub use selector::Selector;

/// The label and annotation of a pod that asks for or declines injection.
pub const INJECT: &str = "sidecar.istio.io/inject";
/// The label of a namespace that asks for or declines injection.
pub const NAMESPACE_INJECTION: &str = "istio-injection";
/// The label of a namespace or pod that chooses a revision of the control plane.
pub const REVISION: &str = "istio.io/rev";

/// Namespaces of Kubernetes itself, which never take part.
const SYSTEM_NAMESPACES: [&str; 4] = [
    "kube-system",
    "kube-public",
    "kube-node-lease",
    "local-path-storage",
];

/// What is known of a pod's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Its labels, if anybody knows them.
    pub labels: Option<BTreeMap<String, String>>,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The pod gets a proxy.
    Inject(Reason),
    /// The pod stays as it is.
    Skip(Reason),
}

impl Decision {
    /// Whether the pod gets a proxy.
    pub fn is_inject(self) -> bool {
        matches!(self, Self::Inject(_))
    }

    /// Why.
    pub fn reason(self) -> Reason {
        match self {
            Self::Inject(reason) | Self::Skip(reason) => reason,
        }
    }
}

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Capture rules would be the node's.
    HostNetwork,
    /// A namespace of Kubernetes itself.
    SystemNamespace,
    /// The pod's own label or annotation.
    Pod,
    /// The namespace's `istio-injection`.
    Namespace,
    /// `istio.io/rev` of namespace or pod.
    Revision,
    /// `istio.io/rev` names another control plane.
    OtherRevision,
    /// Nobody said anything.
    Default,
    /// The webhook's selectors chose the pod.
    Selector,
    /// `neverInjectSelector` or `alwaysInjectSelector`.
    Operator,
    /// The operator injects only what asks.
    Unasked,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HostNetwork => "the pod uses the node's network",
            Self::SystemNamespace => "the namespace belongs to Kubernetes",
            Self::Pod => "the pod says so (sidecar.istio.io/inject)",
            Self::Namespace => "the namespace says so (istio-injection)",
            Self::Revision => "the revision is ours (istio.io/rev)",
            Self::OtherRevision => "the revision is another control plane's (istio.io/rev)",
            Self::Default => "neither pod nor namespace says anything",
            Self::Selector => "the webhook's selectors chose the pod",
            Self::Operator => {
                "the operator's selectors say so (neverInjectSelector, alwaysInjectSelector)"
            }
            Self::Unasked => "the pod does not ask, and the policy is disabled",
        })
    }
}

/// What the operator decides.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// Our revision.
    pub revision: &'a str,
    /// What happens where nobody says anything.
    pub inject_by_default: bool,
    /// What happens to a pod that says nothing in a namespace that is injected.
    pub inject_unasked: bool,
    /// Pods that must ask.
    pub never_inject: &'a [Selector],
    /// Pods that need not ask.
    pub always_inject: &'a [Selector],
}

impl<'a> Policy<'a> {
    /// The policy of `config`.
    pub fn of(config: &'a InjectorConfig) -> Self {
        Self {
            revision: &config.revision,
            inject_by_default: config.inject_by_default,
            inject_unasked: config.inject_unasked,
            never_inject: &config.never_inject,
            always_inject: &config.always_inject,
        }
    }

    /// What the operator says about a pod that does not ask itself; the first selector that matches decides.
    fn unasked(&self, labels: &BTreeMap<String, String>) -> Option<Decision> {
        let chosen = |selectors: &[Selector]| selectors.iter().any(|one| one.matches(labels));
        if chosen(self.never_inject) {
            return Some(Decision::Skip(Reason::Operator));
        }
        if chosen(self.always_inject) || self.inject_unasked {
            return None;
        }
        Some(Decision::Skip(Reason::Unasked))
    }
}

/// Decides about a pod.
pub fn decide(pod: &Value, namespace: &Namespace, policy: Policy<'_>) -> Decision {
    if pod["spec"]["hostNetwork"] == Value::Bool(true) {
        return Decision::Skip(Reason::HostNetwork);
    }
    if SYSTEM_NAMESPACES.contains(&namespace.name.as_str()) {
        return Decision::Skip(Reason::SystemNamespace);
    }
    let labels = string_map(&pod["metadata"]["labels"]);
    let annotations = string_map(&pod["metadata"]["annotations"]);
    // The label is the newer way and wins over the annotation.
    let asked = labels.get(INJECT).or_else(|| annotations.get(INJECT));
    let asked = match asked.map(String::as_str) {
        Some("true") => Some(true),
        Some("false") => Some(false),
        _ => None,
    };
    if asked == Some(false) {
        return Decision::Skip(Reason::Pod);
    }
    if asked.is_none()
        && let Some(decision) = policy.unasked(&labels)
    {
        return decision;
    }
    let Some(namespace) = &namespace.labels else {
        return Decision::Inject(match asked {
            Some(_) => Reason::Pod,
            None => Reason::Selector,
        });
    };
    by_namespace(namespace, &labels, asked, policy)
}

/// The selectors of Istio's webhook configurations, in their order of precedence.
fn by_namespace(
    namespace: &BTreeMap<String, String>,
    pod: &BTreeMap<String, String>,
    asked: Option<bool>,
    policy: Policy<'_>,
) -> Decision {
    let is_default = matches!(policy.revision, "" | "default");
    match namespace.get(NAMESPACE_INJECTION).map(String::as_str) {
        // `istio-injection` belongs to the default revision and beats `istio.io/rev`.
        Some("enabled") if is_default => return Decision::Inject(Reason::Namespace),
        Some("enabled") => return Decision::Skip(Reason::OtherRevision),
        Some("disabled") => return Decision::Skip(Reason::Namespace),
        _ => {}
    }
    let revision = namespace.get(REVISION).or_else(|| pod.get(REVISION));
    match revision.map(String::as_str) {
        Some(revision) if revision == policy.revision || (revision == "default" && is_default) => {
            Decision::Inject(Reason::Revision)
        }
        Some(_) => Decision::Skip(Reason::OtherRevision),
        None if asked == Some(true) && is_default => Decision::Inject(Reason::Pod),
        None if policy.inject_by_default => Decision::Inject(Reason::Default),
        None => Decision::Skip(Reason::Default),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn labels(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    const ON: (&str, &str) = (NAMESPACE_INJECTION, "enabled");
    const OFF: (&str, &str) = (NAMESPACE_INJECTION, "disabled");
    const YES: (&str, &str) = (INJECT, "true");
    const NO: (&str, &str) = (INJECT, "false");

    #[rstest]
    #[case(&[], &[], Decision::Skip(Reason::Default))]
    #[case(&[], &[YES], Decision::Inject(Reason::Pod))]
    #[case(&[ON], &[], Decision::Inject(Reason::Namespace))]
    #[case(&[ON], &[NO], Decision::Skip(Reason::Pod))]
    #[case(&[ON], &[(INJECT, "maybe")], Decision::Inject(Reason::Namespace))]
    #[case(&[OFF], &[YES], Decision::Skip(Reason::Namespace))]
    #[case(&[ON, (REVISION, "canary")], &[], Decision::Inject(Reason::Namespace))]
    #[case(&[(REVISION, "default")], &[], Decision::Inject(Reason::Revision))]
    #[case(&[(REVISION, "canary")], &[YES], Decision::Skip(Reason::OtherRevision))]
    #[case(&[], &[(REVISION, "default")], Decision::Inject(Reason::Revision))]
    #[case(&[], &[(REVISION, "canary"), YES], Decision::Skip(Reason::OtherRevision))]
    fn the_default_revision(
        #[case] namespace: &[(&str, &str)],
        #[case] pod: &[(&str, &str)],
        #[case] expected: Decision,
    ) {
        assert_eq!(decision(namespace, pod, "default"), expected);
    }

    #[rstest]
    #[case(&[(REVISION, "canary")], &[], Decision::Inject(Reason::Revision))]
    #[case(&[ON], &[], Decision::Skip(Reason::OtherRevision))]
    #[case(&[], &[YES], Decision::Skip(Reason::Default))]
    fn another_revision(
        #[case] namespace: &[(&str, &str)],
        #[case] pod: &[(&str, &str)],
        #[case] expected: Decision,
    ) {
        assert_eq!(decision(namespace, pod, "canary"), expected);
    }

    fn decision(namespace: &[(&str, &str)], pod: &[(&str, &str)], revision: &str) -> Decision {
        let pod = json!({"metadata": {"labels": labels(pod)}});
        let namespace = Namespace {
            name: "shop".to_owned(),
            labels: Some(labels(namespace)),
        };
        let config = InjectorConfig {
            revision: revision.to_owned(),
            ..InjectorConfig::default()
        };
        decide(&pod, &namespace, Policy::of(&config))
    }

    #[test]
    fn the_operators_selectors_are_about_pods_that_do_not_ask() {
        let mut config = InjectorConfig::default();
        let selector = |label: &str| {
            let selector = json!({"matchLabels": {"app": label}});
            vec![serde_json::from_value::<Selector>(selector).unwrap()]
        };
        config.never_inject = selector("never");
        config.always_inject = selector("always");
        let decide_about = |config: &InjectorConfig, pod: &[(&str, &str)]| {
            let pod = json!({"metadata": {"labels": labels(pod)}});
            decide(&pod, &Namespace::default(), Policy::of(config))
        };
        let never = ("app", "never");
        let operator = Decision::Skip(Reason::Operator);
        assert_eq!(decide_about(&config, &[never]), operator);
        let asked = Decision::Inject(Reason::Pod);
        assert_eq!(decide_about(&config, &[never, YES]), asked);
        config.inject_unasked = false;
        let unasked = Decision::Skip(Reason::Unasked);
        assert_eq!(decide_about(&config, &[]), unasked);
        let chosen = Decision::Inject(Reason::Selector);
        assert_eq!(decide_about(&config, &[("app", "always")]), chosen);
    }

    #[test]
    fn what_selectors_chose_is_injected_unless_it_cannot_or_will_not() {
        let config = InjectorConfig::default();
        let policy = Policy::of(&config);
        let check = |pod: Value, namespace: &str, expected| {
            let namespace = Namespace {
                name: namespace.to_owned(),
                labels: None,
            };
            assert_eq!(decide(&pod, &namespace, policy), expected);
        };
        check(json!({}), "shop", Decision::Inject(Reason::Selector));
        let annotated = json!({"metadata": {"annotations": {INJECT: "false"}}});
        check(annotated, "shop", Decision::Skip(Reason::Pod));
        let both = json!({"metadata": {
            "annotations": {INJECT: "false"}, "labels": {INJECT: "true"},
        }});
        check(both, "shop", Decision::Inject(Reason::Pod));
        let host = json!({"spec": {"hostNetwork": true}});
        check(host, "shop", Decision::Skip(Reason::HostNetwork));
        check(
            json!({}),
            "kube-system",
            Decision::Skip(Reason::SystemNamespace),
        );
    }
}
