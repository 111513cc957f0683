//! `envoy.filters.http.rbac`: refuses requests by who sends them and what they ask for.

use std::sync::Arc;

use http::StatusCode;

use super::{Filter, Step};
use crate::config::rbac::{Input, Rbac};
use crate::config::route::overrides::FilterOverride;
use crate::local_reply::LocalReply;
use crate::stream::{RequestHead, Stream};
use crate::telemetry::stream_info::ResponseFlags;

/// The filter. Routes may replace its rules (`RBACPerRoute`).
#[derive(Debug)]
pub struct RbacFilter {
    /// Its name in `http_filters`.
    pub name: Box<str>,
    /// Its rules.
    pub config: Arc<Rbac>,
}

impl Filter for RbacFilter {
    fn name(&self) -> &str {
        &self.name
    }

    fn decode_headers(&self, stream: &mut Stream, request: &mut RequestHead) -> Step {
        let route = stream.route.clone();
        let config = match route.as_ref().and_then(|r| r.overrides().get(&self.name)) {
            Some(FilterOverride::Rbac(config)) => config,
            _ => &self.config,
        };
        let input = Input {
            connection: &stream.info.connection,
            remote: stream.info.remote,
            request: Some(request),
        };
        if let Some(shadow) = &config.shadow_rules {
            let decision = shadow.evaluate(&input);
            tracing::debug!(allowed = decision.allowed, policy = ?decision.policy, "shadow rules");
        }
        let Some(rules) = &config.rules else {
            return Step::Continue;
        };
        let decision = rules.evaluate(&input);
        if decision.allowed {
            return Step::Continue;
        }
        Step::Reply(Box::new(LocalReply::new(
            StatusCode::FORBIDDEN,
            "RBAC: access denied",
            decision.details(),
            ResponseFlags::default(),
        )))
    }
}
