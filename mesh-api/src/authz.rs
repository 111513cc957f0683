//! Who may do what (Istio `AuthorizationPolicy`).

use std::sync::Arc;

use ipnet::IpNet;

use crate::labels::Selector;
use crate::resource::Meta;

/// One AuthorizationPolicy object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizationPolicy {
    /// The object; in the root namespace it applies to the mesh.
    pub meta: Meta,
    /// The pods; `None` for the namespace.
    pub selector: Option<Selector>,
    /// What a match means.
    pub action: AuthzAction,
    /// Alternatives. ALLOW without rules allows nothing.
    pub rules: Vec<AuthzRule>,
    /// Annotation `istio.io/dry-run`: only counted and logged.
    pub dry_run: bool,
}

/// `action`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AuthzAction {
    /// Allows what matches; everything else is denied once such a policy exists.
    Allow,
    /// Denies what matches.
    Deny,
    /// Marks what matches.
    Audit,
    /// Asks the provider.
    Custom {
        /// `provider.name`.
        provider: Arc<str>,
    },
}

/// One rule: all three parts must match; an empty part matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuthzRule {
    /// Alternatives of who.
    pub from: Vec<Source>,
    /// Alternatives of what.
    pub to: Vec<Operation>,
    /// Conditions, all of which must hold.
    pub when: Vec<Condition>,
}

/// Values of which one must match, and values of which none may; both empty means any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Values<T> {
    /// One of these.
    pub any: Vec<T>,
    /// None of these.
    pub none: Vec<T>,
}

impl<T> Default for Values<T> {
    fn default() -> Self {
        Self {
            any: Vec::new(),
            none: Vec::new(),
        }
    }
}

impl<T> Values<T> {
    /// Nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.any.is_empty() && self.none.is_empty()
    }
}

/// Istio's string forms in policies.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AuthzString {
    /// `text`.
    Exact(Arc<str>),
    /// `text*`.
    Prefix(Arc<str>),
    /// `*text`.
    Suffix(Arc<str>),
    /// `*`: there and not empty.
    Present,
}

impl AuthzString {
    /// Reads Istio's notation: `x`, `x*`, `*x`, `*`.
    pub fn parse(text: &str) -> Self {
        if text == "*" {
            Self::Present
        } else if let Some(prefix) = text.strip_suffix('*') {
            Self::Prefix(prefix.into())
        } else if let Some(suffix) = text.strip_prefix('*') {
            Self::Suffix(suffix.into())
        } else {
            Self::Exact(text.into())
        }
    }
}

/// `rules[].from[].source`; all fields must match.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Source {
    /// Peer identities without `spiffe://`.
    pub principals: Values<AuthzString>,
    /// `iss/sub` of the request's token.
    pub request_principals: Values<AuthzString>,
    /// Peer namespaces.
    pub namespaces: Values<AuthzString>,
    /// Peer service accounts: namespace, name.
    pub service_accounts: Values<(Arc<str>, Arc<str>)>,
    /// Direct peer addresses.
    pub ip_blocks: Values<IpNet>,
    /// Client addresses.
    pub remote_ip_blocks: Values<IpNet>,
}

/// `rules[].to[].operation`; all fields must match.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Operation {
    /// Hosts, compared without case.
    pub hosts: Values<AuthzString>,
    /// Workload ports.
    pub ports: Values<u16>,
    /// Methods.
    pub methods: Values<AuthzString>,
    /// Paths.
    pub paths: Values<AuthzPath>,
}

impl Operation {
    /// Asks for anything that only HTTP has.
    pub fn needs_http(&self) -> bool {
        !(self.hosts.is_empty() && self.methods.is_empty() && self.paths.is_empty())
    }
}

/// A path in a policy: a string form, or a template with `{*}` and a trailing `{**}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AuthzPath {
    /// `x`, `x*`, `*x`, `*`.
    Text(AuthzString),
    /// URI template.
    Template(Arc<str>),
}

/// One `when[]` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// What is looked at.
    pub key: ConditionKey,
    /// `values` and `notValues`, as written.
    pub values: Values<Arc<str>>,
}

/// `when[].key`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ConditionKey {
    /// `request.headers[name]`, lower case.
    RequestHeader(Arc<str>),
    /// `source.ip`.
    SourceIp,
    /// `remote.ip`.
    RemoteIp,
    /// `source.namespace`.
    SourceNamespace,
    /// `source.principal`.
    SourcePrincipal,
    /// `source.serviceAccount`.
    SourceServiceAccount,
    /// `request.auth.principal`.
    RequestPrincipal,
    /// `request.auth.audiences`.
    RequestAudiences,
    /// `request.auth.presenter`.
    RequestPresenter,
    /// `request.auth.claims[a][b]`.
    RequestClaim(Vec<Arc<str>>),
    /// `destination.ip`.
    DestinationIp,
    /// `destination.port`.
    DestinationPort,
    /// `connection.sni`.
    ConnectionSni,
}
