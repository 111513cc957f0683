//! Which match goes first: the order that the Gateway API defines for HTTPRoutes and
//! GRPCRoutes.
//!
//! Differs from the Gateway API: routes of both kinds may have one host; their matches
//! are sorted together, as in Istio.

use std::cmp::{Ordering, Reverse};

use crate::normalize::gateway_api::{HttpRouteObject, Match, PathMatch, Rule};

/// One match of one rule of a route.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ranked<'a> {
    pub(super) route: &'a HttpRouteObject,
    pub(super) rule: &'a Rule,
    pub(super) one: &'a Match,
    /// Only traffic to this port of the Service.
    pub(super) port: Option<u16>,
}

/// The matches of a route in the order in which they were written.
pub(super) fn ranked(route: &HttpRouteObject) -> impl Iterator<Item = Ranked<'_>> {
    route.rules.iter().flat_map(move |rule| {
        rule.matches.iter().map(move |one| Ranked {
            route,
            rule,
            one,
            port: None,
        })
    })
}

impl Ranked<'_> {
    pub(super) fn on_port(self, port: Option<u16>) -> Self {
        Self { port, ..self }
    }

    /// Exact paths, then longer prefixes (of gRPC longer services, then longer methods),
    /// then expressions, then no path; then a method, then more headers, then more
    /// query parameters, then the older route. Sorting is stable, so the order of
    /// rules decides what is left.
    pub(super) fn precedence(&self, other: &Self) -> Ordering {
        let by_match = self.specificity().cmp(&other.specificity());
        by_match.then_with(|| {
            let (one, other) = (&self.route.meta, &other.route.meta);
            one.age_order().cmp(&other.age_order())
        })
    }

    fn specificity(&self) -> impl Ord + use<> {
        let kind = match &self.one.path {
            PathMatch::Exact(_) => 0,
            // Whatever stands behind a match of everything is never reached.
            PathMatch::Prefix(path) if path.is_empty() => 3,
            PathMatch::Prefix(_) => 1,
            PathMatch::Regex(_) => 2,
        };
        let rest = &self.one.rest;
        (
            kind,
            Reverse(self.one.lengths),
            rest.method.is_none(),
            Reverse(rest.headers.len()),
            Reverse(rest.query_params.len()),
        )
    }
}
