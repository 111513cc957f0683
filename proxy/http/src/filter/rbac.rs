//! `envoy.filters.http.rbac`: refuses requests by who sends them and what they ask for.

use std::rc::Rc;
use std::sync::Arc;

use http::StatusCode;

use super::registry::Build;
use super::{Filter, HeadContext, Step};
use crate::config::filter::FilterConfig;
use crate::config::rbac::{Input, Rbac};
use crate::local_reply::LocalReply;
use crate::stream::RequestHead;
use crate::telemetry::stats::RbacCells;
use crate::telemetry::stream_info::ResponseFlags;

/// The filter. Routes may replace its rules (`RBACPerRoute`).
#[derive(Debug)]
struct RbacFilter {
    /// What holds where routes say nothing: an [`Rbac`].
    config: FilterConfig,
    cells: Arc<RbacCells>,
}

/// The message that configures the filter.
pub(super) const KIND: &str = "envoy.extensions.filters.http.rbac.v3.RBAC";

pub(super) fn build(config: &FilterConfig, build: &Build<'_>) -> Option<Rc<dyn Filter>> {
    config.get::<Rbac>()?;
    Some(Rc::new(RbacFilter {
        config: config.clone(),
        cells: build.telemetry.http_rbac_cells(build.stat_prefix),
    }))
}

impl Filter for RbacFilter {
    fn request_head(
        &self,
        context: &mut HeadContext<'_>,
        request: &mut RequestHead,
    ) -> Step<RequestHead> {
        let config = context.route_config().or_else(|| self.config.get());
        let Some(config): Option<&Rbac> = config else {
            return Step::Continue;
        };
        let info = &context.stream.info;
        let metadata = info.dynamic_metadata.borrow();
        let input = Input {
            connection: &info.connection,
            remote: info.remote,
            request: Some(request),
            metadata: metadata.as_deref(),
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
            self.cells.allowed.inc();
            return Step::Continue;
        }
        self.cells.denied.inc();
        Step::Reply(Box::new(LocalReply::new(
            StatusCode::FORBIDDEN,
            "RBAC: access denied",
            decision.details(),
            ResponseFlags::default(),
        )))
    }
}
