//! Walks the trees of permissions and principals.

use super::{Action, Decision, Input, Permission, Policies, Policy, Principal, contains};

impl Policies {
    /// Decides on an input.
    pub fn evaluate(&self, input: &Input<'_>) -> Decision<'_> {
        let policy = self.policies.iter().find(|policy| policy.matches(input));
        let allowed = match self.action {
            Action::Allow => policy.is_some(),
            Action::Deny => policy.is_none(),
            Action::Log => true,
        };
        Decision {
            allowed,
            policy: policy.map(|policy| &*policy.name),
        }
    }
}

impl Policy {
    fn matches(&self, input: &Input<'_>) -> bool {
        self.permissions.iter().any(|p| p.matches(input))
            && self.principals.iter().any(|p| p.matches(input))
    }
}

impl Permission {
    fn matches(&self, input: &Input<'_>) -> bool {
        match self {
            Self::Any(any) => *any,
            Self::All(all) => all.iter().all(|p| p.matches(input)),
            Self::Or(or) => or.iter().any(|p| p.matches(input)),
            Self::Not(not) => !not.matches(input),
            Self::Header(matcher) => input.header(matcher),
            Self::UrlPath(matcher) => input.path(matcher),
            Self::Metadata(matcher) => matcher.matches(input.metadata),
            Self::DestinationIp(net) => contains(net, input.connection.local.ip()),
            Self::DestinationPort(ports) => {
                ports.contains(&u32::from(input.connection.local.port()))
            }
            Self::RequestedServerName(matcher) => {
                let name = input.connection.server_name.as_deref().unwrap_or("");
                matcher.matches(name.as_bytes())
            }
        }
    }
}

impl Principal {
    fn matches(&self, input: &Input<'_>) -> bool {
        match self {
            Self::Any(any) => *any,
            Self::All(all) => all.iter().all(|p| p.matches(input)),
            Self::Or(or) => or.iter().any(|p| p.matches(input)),
            Self::Not(not) => !not.matches(input),
            Self::Authenticated(name) => authenticated(name.as_ref(), input),
            Self::SourceIp(net) => contains(net, input.connection.remote.ip()),
            Self::DirectRemoteIp(net) => contains(net, input.connection.direct_remote.ip()),
            Self::RemoteIp(net) => contains(net, input.remote.ip()),
            Self::Header(matcher) => input.header(matcher),
            Self::UrlPath(matcher) => input.path(matcher),
            Self::Metadata(matcher) => matcher.matches(input.metadata),
        }
    }
}

/// URI names, then DNS names, then the subject, as Envoy tries them.
fn authenticated(name: Option<&super::StringMatcher>, input: &Input<'_>) -> bool {
    let peer = input
        .connection
        .tls
        .as_ref()
        .and_then(|tls| tls.peer.as_ref());
    let (Some(peer), Some(matcher)) = (peer, name) else {
        return peer.is_some() && name.is_none();
    };
    let mut names = peer.uri_sans.iter().chain(&peer.dns_sans);
    names.any(|name| matcher.matches(name.as_bytes())) || matcher.matches(peer.subject.as_bytes())
}

#[cfg(test)]
mod tests;
