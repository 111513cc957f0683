//! Listeners of Gateways, and which routes they take.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_api::hostname::Hostname;
use mesh_api::labels::{Labels, Selector};
use serde_json::Value as Json;

use super::reference::{GROUP, ObjectRef, Reference, reference};
use crate::kinds::findings::Findings;
use crate::kinds::rules::{self, each, shared};
use crate::kinds::scope::Scope;
use crate::kinds::wire::wire;
use crate::manifest::path::FieldPath;

wire! {
    WireListener {
        name: String,
        hostname: Option<String>,
        port: u32,
        protocol: String,
        tls: Option<WireListenerTls>,
        allowed_routes: Option<WireAllowedRoutes>,
    }

    WireListenerTls {
        mode: Option<String>,
        certificate_refs: Vec<ObjectRef>,
        frontend_validation: Option<Json>,
        options: BTreeMap<String, String>,
    }

    WireAllowedRoutes {
        namespaces: Option<WireNamespaces>,
        kinds: Vec<WireRouteKind>,
    }

    WireNamespaces {
        from: Option<String>,
        selector: Option<WireSelector>,
    }

    WireSelector {
        match_labels: BTreeMap<String, String>,
        match_expressions: Vec<WireRequirement>,
    }

    WireRequirement {
        key: String,
        operator: String,
        values: Vec<String>,
    }

    WireRouteKind {
        group: Option<String>,
        kind: String,
    }
}

/// One `listeners[]` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its name.
    pub name: Arc<str>,
    /// Host; `*` if it has none.
    pub hostname: Hostname,
    /// Port.
    pub port: u16,
    /// What is listened for.
    pub protocol: ListenerProtocol,
    /// Certificates.
    pub certificates: Vec<Reference>,
    /// Namespaces whose routes may attach.
    pub from: RoutesFrom,
    /// Kinds of routes that may attach, of those that go with the protocol.
    pub kinds: Vec<&'static str>,
    /// Kinds that are asked for but do not go with the protocol.
    pub invalid_kinds: Vec<Arc<str>>,
}

/// `protocol` with `tls.mode`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerProtocol {
    /// Plain HTTP.
    Http,
    /// HTTP in TLS that ends here.
    Https,
    /// TLS that passes through.
    TlsPassthrough,
    /// Bytes in TLS that ends here.
    TlsTerminate,
    /// Bytes.
    Tcp,
    /// Anything else.
    Unsupported(Arc<str>),
}

impl ListenerProtocol {
    /// Kinds of routes that can attach.
    pub fn route_kinds(&self) -> &'static [&'static str] {
        match self {
            Self::Http | Self::Https => &["HTTPRoute", "GRPCRoute"],
            Self::TlsPassthrough => &["TLSRoute"],
            Self::TlsTerminate => &["TLSRoute", "TCPRoute"],
            Self::Tcp => &["TCPRoute"],
            Self::Unsupported(_) => &[],
        }
    }

    /// True if TLS ends here, which takes a certificate.
    pub fn terminates_tls(&self) -> bool {
        matches!(self, Self::Https | Self::TlsTerminate)
    }

    /// True if connections begin with TLS.
    pub fn is_tls(&self) -> bool {
        self.terminates_tls() || *self == Self::TlsPassthrough
    }
}

/// `allowedRoutes.namespaces`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoutesFrom {
    /// The Gateway's.
    Same,
    /// Every one.
    All,
    /// Those with these labels.
    Selector(NamespaceSelector),
}

/// A label selector with expressions: all of it must fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceSelector {
    /// `matchLabels`.
    pub labels: Selector,
    /// `matchExpressions`.
    pub expressions: Vec<Requirement>,
}

/// One `matchExpressions[]` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The label.
    pub key: Arc<str>,
    /// What is asked of it.
    pub operator: Operator,
}

/// `operator` with `values`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// One of these values.
    In(Vec<Arc<str>>),
    /// None of these values, or no such label.
    NotIn(Vec<Arc<str>>),
    /// Any value.
    Exists,
    /// No such label.
    DoesNotExist,
}

impl NamespaceSelector {
    /// True if the labels have everything that is asked for.
    pub fn matches(&self, labels: &Labels) -> bool {
        let fits = |one: &Requirement| {
            let value = labels.get(&one.key);
            let among = |values: &[Arc<str>]| values.iter().any(|one| value == Some(&**one));
            match &one.operator {
                Operator::In(values) => among(values),
                Operator::NotIn(values) => !among(values),
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
            }
        };
        self.labels.matches(labels) && self.expressions.iter().all(fits)
    }
}

pub(super) fn read(
    wire: &WireListener,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<Listener> {
    let tls = wire.tls.as_ref();
    let passthrough = tls.is_some_and(|tls| tls.mode.as_deref() == Some("Passthrough"));
    let protocol = protocol(&wire.protocol, passthrough);
    let certificates = tls.into_iter().flat_map(|tls| &tls.certificate_refs);
    let allowed = wire.allowed_routes.as_ref();
    let asked = allowed.map(|allowed| allowed.kinds.as_slice());
    let (kinds, invalid_kinds) = kinds(asked.unwrap_or_default(), &protocol);
    // Bytes say nothing about the host that is meant.
    let host = wire.hostname.as_deref();
    let host = host.filter(|_| protocol != ListenerProtocol::Tcp);
    let hostname = hostname(host, &path.field("hostname"), findings);
    let port = rules::port(wire.port, &path.field("port"), findings);
    let namespaces = allowed.and_then(|allowed| allowed.namespaces.as_ref());
    let from = from(namespaces, path, findings);
    Some(Listener {
        name: wire.name.as_str().into(),
        hostname: hostname?,
        port: port?,
        protocol,
        certificates: certificates
            .map(|one| reference(one, "", "Secret", scope))
            .collect(),
        from: from?,
        kinds,
        invalid_kinds,
    })
}

fn protocol(text: &str, passthrough: bool) -> ListenerProtocol {
    match (text, passthrough) {
        ("HTTP", _) => ListenerProtocol::Http,
        ("HTTPS", false) => ListenerProtocol::Https,
        ("HTTPS", true) => ListenerProtocol::Unsupported("HTTPS with mode Passthrough".into()),
        ("TLS", true) => ListenerProtocol::TlsPassthrough,
        ("TLS", false) => ListenerProtocol::TlsTerminate,
        ("TCP", _) => ListenerProtocol::Tcp,
        (other, _) => ListenerProtocol::Unsupported(other.into()),
    }
}

/// `allowedRoutes.kinds`: those that go with the protocol, and the others.
fn kinds(
    wire: &[WireRouteKind],
    protocol: &ListenerProtocol,
) -> (Vec<&'static str>, Vec<Arc<str>>) {
    let all = protocol.route_kinds();
    if wire.is_empty() {
        return (all.to_vec(), Vec::new());
    }
    let asks = |one: &WireRouteKind, kind: &str| {
        one.group.as_deref().unwrap_or(GROUP) == GROUP && one.kind == kind
    };
    let valid = all.iter().copied();
    let invalid = wire
        .iter()
        .filter(|one| !all.iter().any(|kind| asks(one, kind)));
    (
        valid
            .filter(|kind| wire.iter().any(|one| asks(one, kind)))
            .collect(),
        invalid.map(|one| one.kind.as_str().into()).collect(),
    )
}

fn from(
    wire: Option<&WireNamespaces>,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<RoutesFrom> {
    let path = path.field("allowedRoutes");
    let path = path.field("namespaces");
    let selector = wire.and_then(|namespaces| namespaces.selector.as_ref());
    match (
        wire.and_then(|namespaces| namespaces.from.as_deref()),
        selector,
    ) {
        (None | Some("Same"), _) => Some(RoutesFrom::Same),
        (Some("All"), _) => Some(RoutesFrom::All),
        (Some("Selector"), Some(wire)) => {
            let at = path.field("selector");
            let list = at.field("matchExpressions");
            let expressions = each(&wire.match_expressions, &list, findings, requirement);
            Some(RoutesFrom::Selector(NamespaceSelector {
                labels: Selector::new(wire.match_labels.iter().collect()),
                expressions: expressions?,
            }))
        }
        (Some("Selector"), None) => {
            findings.error(&path, "a selector is required");
            None
        }
        (Some(other), _) => {
            let message = format!("namespaces from \"{other}\" are not supported");
            findings.error(&path.field("from"), message);
            None
        }
    }
}

fn requirement(
    wire: &WireRequirement,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Requirement> {
    let operator = match wire.operator.as_str() {
        "In" => Operator::In(shared(&wire.values)),
        "NotIn" => Operator::NotIn(shared(&wire.values)),
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        other => {
            let message = format!("\"{other}\" is no operator of label selectors");
            findings.error(&path.field("operator"), message);
            return None;
        }
    };
    Some(Requirement {
        key: wire.key.as_str().into(),
        operator,
    })
}

fn hostname(
    text: Option<&str>,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Hostname> {
    match text {
        None | Some("") => Some(Hostname::any()),
        Some(text) => rules::host(text, path, findings),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case::among(Operator::In(vec!["a".into(), "b".into()]), [true, false, false])]
    #[case::not_among(Operator::NotIn(vec!["a".into()]), [false, true, true])]
    #[case::there(Operator::Exists, [true, true, false])]
    #[case::not_there(Operator::DoesNotExist, [false, false, true])]
    fn expressions_look_at_one_label(#[case] operator: Operator, #[case] expected: [bool; 3]) {
        let selector = NamespaceSelector {
            labels: Selector::default(),
            expressions: vec![Requirement {
                key: "team".into(),
                operator,
            }],
        };
        let of = |pairs: &[(&str, &str)]| selector.matches(&pairs.iter().copied().collect());
        let found = [of(&[("team", "a")]), of(&[("team", "c")]), of(&[])];
        assert_eq!(found, expected);
    }

    #[test]
    fn labels_and_expressions_must_both_fit() {
        let selector = NamespaceSelector {
            labels: Selector::new([("mesh", "yes")].into_iter().collect()),
            expressions: vec![Requirement {
                key: "team".into(),
                operator: Operator::Exists,
            }],
        };
        let of = |pairs: &[(&str, &str)]| selector.matches(&pairs.iter().copied().collect());
        let found = [
            of(&[("mesh", "yes"), ("team", "a")]),
            of(&[("mesh", "yes")]),
            of(&[("team", "a")]),
        ];
        assert_eq!(found, [true, false, false]);
    }
}
