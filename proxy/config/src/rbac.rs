//! RBAC as executed (`envoy.config.rbac.v3.RBAC`): shared by the HTTP and the network filter.
//!
//! Rules are trees of permissions and principals; [`Policies::evaluate`] walks them over an [`Input`], which is
//! a connection and, for the HTTP filter, a request on it. For the network filter every header is absent.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;

use ipnet::IpNet;

use super::matcher::metadata::MetadataMatcher;
use super::matcher::{HeaderMatcher, StringMatcher};
use super::metadata::Metadata;
use crate::connection::ConnectionInfo;
use crate::request::RequestHead;

mod engine;

/// One RBAC filter: enforced rules and shadow rules, compiled.
#[derive(Debug, Default)]
pub struct Rbac {
    /// `stat_prefix`, also in shadow metadata.
    pub stat_prefix: Arc<str>,
    /// What is enforced; `None` allows everything.
    pub rules: Option<Policies>,
    /// What is only evaluated and counted.
    pub shadow_rules: Option<Policies>,
}

/// Named policies with one action.
#[derive(Debug)]
pub struct Policies {
    /// What a match means.
    pub action: Action,
    /// In the order of their names; the first match counts.
    pub policies: Vec<Policy>,
}

/// `RBAC.Action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Only what matches passes.
    Allow,
    /// What matches is refused.
    Deny,
    /// Everything passes; matches are noted.
    Log,
}

/// One policy: some permission and some principal must match.
#[derive(Debug)]
pub struct Policy {
    /// Its name.
    pub name: Box<str>,
    /// What may be done.
    pub permissions: Vec<Permission>,
    /// By whom.
    pub principals: Vec<Principal>,
}

/// What is done (`envoy.config.rbac.v3.Permission`).
#[derive(Debug)]
pub enum Permission {
    /// Anything (or, if false, nothing).
    Any(bool),
    /// All of these.
    All(Vec<Permission>),
    /// One of these.
    Or(Vec<Permission>),
    /// Not this.
    Not(Box<Permission>),
    /// A header.
    Header(HeaderMatcher),
    /// The path without query.
    UrlPath(StringMatcher),
    /// The destination's address.
    DestinationIp(IpNet),
    /// The destination's port.
    DestinationPort(Range<u32>),
    /// Dynamic metadata.
    Metadata(MetadataMatcher),
    /// SNI; the empty string if there is none.
    RequestedServerName(StringMatcher),
}

/// Who does it (`envoy.config.rbac.v3.Principal`).
#[derive(Debug)]
pub enum Principal {
    /// Anyone (or, if false, no one).
    Any(bool),
    /// All of these.
    All(Vec<Principal>),
    /// One of these.
    Or(Vec<Principal>),
    /// Not this.
    Not(Box<Principal>),
    /// A peer with a certificate, of this name if one is given.
    Authenticated(Option<StringMatcher>),
    /// The peer of the connection, after PROXY protocol (`source_ip`).
    SourceIp(IpNet),
    /// The peer of the socket.
    DirectRemoteIp(IpNet),
    /// The client, after `x-forwarded-for`.
    RemoteIp(IpNet),
    /// A header.
    Header(HeaderMatcher),
    /// The path without query.
    UrlPath(StringMatcher),
    /// Dynamic metadata.
    Metadata(MetadataMatcher),
}

/// What is decided on.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The connection.
    pub connection: &'a ConnectionInfo,
    /// The client, after `x-forwarded-for`; the same as the connection's for TCP.
    pub remote: SocketAddr,
    /// The request; `None` in the network filter.
    pub request: Option<&'a RequestHead>,
    /// What filters said about the request, if they said anything.
    pub metadata: Option<&'a Metadata>,
}

impl<'a> Input<'a> {
    /// The input of the network filter.
    pub fn connection(connection: &'a ConnectionInfo) -> Self {
        Self {
            connection,
            remote: connection.remote,
            request: None,
            metadata: None,
        }
    }

    fn header(&self, matcher: &HeaderMatcher) -> bool {
        match self.request {
            Some(request) => matcher.matches(request),
            None => matcher.matches_value(None),
        }
    }

    fn path(&self, matcher: &StringMatcher) -> bool {
        self.request
            .is_some_and(|request| matcher.matches(request.path_only().as_bytes()))
    }
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<'a> {
    /// Pass or refuse.
    pub allowed: bool,
    /// The policy that matched.
    pub policy: Option<&'a str>,
}

impl Decision<'_> {
    /// `rbac_access_denied_matched_policy[...]`, white space replaced as in Envoy's access logs.
    pub fn details(&self) -> String {
        let name = self
            .policy
            .unwrap_or("none")
            .replace(char::is_whitespace, "_");
        format!("rbac_access_denied_matched_policy[{name}]")
    }
}

fn contains(net: &IpNet, ip: IpAddr) -> bool {
    net.contains(&ip.to_canonical())
}
