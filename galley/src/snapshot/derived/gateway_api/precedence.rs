//! Which match goes first: the order that the Gateway API defines for HTTPRoutes and
//! GRPCRoutes.
//!
//! Differs from the Gateway API: routes of both kinds may have one host; their matches
//! are sorted together, as in Istio.

use std::cmp::Reverse;

use super::rule;
use crate::kinds::gateway_api::{HttpRouteObject, Match, PathMatch};
use crate::snapshot::derived::place::{Rank, Ranked};
use crate::snapshot::derived::world::World;

/// The matches of a route in the order in which they were written, for traffic to one port of a Service or to any.
pub(super) fn ranked(
    route: &HttpRouteObject,
    port: Option<u16>,
    world: &World<'_>,
) -> impl Iterator<Item = Ranked> {
    route.rules.iter().flat_map(move |rule| {
        rule.matches.iter().map(move |one| Ranked {
            rank: rank(one),
            routes: rule::routes(
                &rule::Written {
                    route,
                    rule,
                    one,
                    port,
                },
                world,
            ),
        })
    })
}

/// Exact paths, then longer prefixes (of gRPC longer services, then longer methods),
/// then expressions, then no path; then a method, then more headers, then more
/// query parameters. Then the older route goes first, and then the order of rules.
fn rank(one: &Match) -> Rank {
    let kind = match &one.path {
        PathMatch::Exact(_) => 0,
        // Whatever stands behind a match of everything is never reached.
        PathMatch::Prefix(path) if path.is_empty() => 3,
        PathMatch::Prefix(_) => 1,
        PathMatch::Regex(_) => 2,
    };
    let rest = &one.rest;
    (
        kind,
        Reverse(one.lengths),
        rest.method.is_none(),
        Reverse(rest.headers.len()),
        Reverse(rest.query_params.len()),
    )
}
