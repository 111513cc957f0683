//! Listeners of Gateways, and which routes they take.

use std::sync::Arc;

use mesh_api::hostname::Hostname;
use mesh_api::labels::{Labels, Selector};

use super::{GROUP, Reference, reference};
use crate::crd::gateway_api as wire;
use crate::manifest::path::FieldPath;
use crate::normalize::{Fault, Scope, labels, shared};

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

pub(super) fn listener(
    wire: &wire::Listener,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<Listener, Fault> {
    let tls = wire.tls.clone().unwrap_or_default();
    let certificates = tls.certificate_refs.iter();
    let allowed = wire.allowed_routes.clone().unwrap_or_default();
    let protocol = protocol(&wire.protocol, tls.mode.as_deref() == Some("Passthrough"));
    let (kinds, invalid_kinds) = kinds(&allowed.kinds, &protocol);
    // Bytes say nothing about the host that is meant.
    let host = wire.hostname.as_deref();
    let host = host.filter(|_| protocol != ListenerProtocol::Tcp);
    Ok(Listener {
        name: wire.name.as_str().into(),
        hostname: hostname(host, &path.field("hostname"), scope)?,
        port: scope.port(wire.port, &path.field("port"))?,
        protocol,
        certificates: certificates
            .map(|one| reference(one, "", "Secret", scope))
            .collect(),
        from: from(allowed.namespaces.as_ref(), path, scope)?,
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
    wire: &[wire::RouteKind],
    protocol: &ListenerProtocol,
) -> (Vec<&'static str>, Vec<Arc<str>>) {
    let all = protocol.route_kinds();
    if wire.is_empty() {
        return (all.to_vec(), Vec::new());
    }
    let asks = |one: &wire::RouteKind, kind: &str| {
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
    wire: Option<&wire::RouteNamespaces>,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<RoutesFrom, Fault> {
    let path = path.field("allowedRoutes");
    let path = path.field("namespaces");
    let selector = wire.and_then(|namespaces| namespaces.selector.as_ref());
    match (
        wire.and_then(|namespaces| namespaces.from.as_deref()),
        selector,
    ) {
        (None | Some("Same"), _) => Ok(RoutesFrom::Same),
        (Some("All"), _) => Ok(RoutesFrom::All),
        (Some("Selector"), Some(wire)) => {
            let at = path.field("selector");
            let list = at.field("matchExpressions");
            let expressions = wire.match_expressions.iter().enumerate();
            let expressions =
                expressions.map(|(index, one)| requirement(one, &list.index(index), scope));
            Ok(RoutesFrom::Selector(NamespaceSelector {
                labels: Selector::new(labels(&wire.match_labels)),
                expressions: expressions.collect::<Result<_, _>>()?,
            }))
        }
        (Some("Selector"), None) => Err(scope.fault(&path, "a selector is required")),
        (Some(other), _) => {
            let message = format!("namespaces from \"{other}\" are not supported");
            Err(scope.fault(&path.field("from"), message))
        }
    }
}

fn requirement(
    wire: &wire::Requirement,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<Requirement, Fault> {
    Ok(Requirement {
        key: wire.key.as_str().into(),
        operator: match wire.operator.as_str() {
            "In" => Operator::In(shared(&wire.values)),
            "NotIn" => Operator::NotIn(shared(&wire.values)),
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            other => {
                let message = format!("\"{other}\" is no operator of label selectors");
                return Err(scope.fault(&path.field("operator"), message));
            }
        },
    })
}

fn hostname(
    text: Option<&str>,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<Hostname, Fault> {
    match text {
        None | Some("") => Ok(Hostname::any()),
        Some(text) => text.parse().map_err(|error| scope.fault(path, error)),
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
