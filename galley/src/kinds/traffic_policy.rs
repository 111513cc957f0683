//! `TrafficPolicy` and its parts, which DestinationRule, Sidecar and the mesh configuration share.

mod connection_pool;
mod consistent_hash;
mod load_balancer;
mod locality;
mod outlier_detection;
mod tls;

use std::collections::{BTreeMap, BTreeSet};

use mesh_api::traffic_policy::{PortPolicy, RetryBudget, TrafficPolicy};

pub(crate) use self::connection_pool::{
    H2UpgradePolicy, WireKeepalive, WirePool, read as connection_pool, tcp_keepalive,
};
use self::load_balancer::WireBalancer;
pub(crate) use self::locality::{WireLocality, read as locality};
use self::outlier_detection::WireOutliers;
use self::tls::WireTls;
use super::findings::Findings;
use super::rules;
use super::wire::{PortSelector, wire};
use crate::decode::jsonpb::{GoDuration, wire_enum};
use crate::manifest::path::FieldPath;

/// Istio's defaults of `retryBudget`.
const RETRY_BUDGET_PERCENT: f64 = 20.0;
const RETRY_BUDGET_CONCURRENCY: u32 = 3;

wire! {
    WirePolicy {
        /// How an endpoint is chosen. By default LEAST_REQUEST.
        load_balancer: Option<WireBalancer>,
        /// Limits of connections and requests to the service, for each client proxy.
        connection_pool: Option<WirePool>,
        /// When endpoints that fail are ejected from load balancing. By default never.
        outlier_detection: Option<WireOutliers>,
        /// TLS of connections to the service. By default mutual TLS of the mesh where the endpoints accept it.
        tls: Option<WireTls>,
        /// Policies of single ports, each instead of the policy of all ports.
        port_level_settings: Vec<WirePortPolicy>,
        /// Not supported yet: a tunnel through which connections are made.
        tunnel: Option<Tunnel>,
        /// Not supported yet: the PROXY protocol towards the endpoints.
        proxy_protocol: Option<ProxyProtocol>,
        /// Limit of concurrent retries in proportion to active requests, instead of maxRetries.
        retry_budget: Option<WireBudget>,
    }

    WirePortPolicy {
        /// Port of the service.
        port: Option<PortSelector>,
        /// How an endpoint is chosen.
        load_balancer: Option<WireBalancer>,
        /// Limits of connections and requests.
        connection_pool: Option<WirePool>,
        /// When endpoints that fail are ejected.
        outlier_detection: Option<WireOutliers>,
        /// TLS of connections to the port.
        tls: Option<WireTls>,
    }

    #[schemars(extend("required" = ["targetHost", "targetPort"]))]
    Tunnel {
        /// POST or CONNECT.
        protocol: String,
        /// Host that the tunnel leads to.
        target_host: String,
        /// Port that the tunnel leads to.
        target_port: u32,
    }

    ProxyProtocol {
        /// V1 (default) or V2.
        version: ProxyProtocolVersion,
    }

    WireBudget {
        /// Retries as a percentage of active requests, 0 to 100. 20 by default.
        percent: Option<f64>,
        /// Concurrent retries that are allowed in any case. 3 by default.
        min_retry_concurrency: u32,
        /// Not supported yet: time over which requests count.
        budget_interval: Option<GoDuration>,
    }
}

wire_enum!(
    ProxyProtocolVersion {
        #[default]
        V1 = "V1" / 0,
        V2 = "V2" / 1,
    }
);

pub(super) fn read(
    wire: &WirePolicy,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<TrafficPolicy> {
    if *wire == WirePolicy::default() {
        findings
            .error(path, "the traffic policy is empty")
            .suggest("set at least one of loadBalancer, connectionPool, outlierDetection, tls");
    }
    let of_all = parts(
        wire.load_balancer.as_ref(),
        wire.connection_pool.as_ref(),
        wire.outlier_detection.as_ref(),
        wire.tls.as_ref(),
        path,
        findings,
    );
    if wire.tunnel.is_some() {
        findings.refuse_unsupported(&path.field("tunnel"), "tunnels are not supported yet");
    }
    if wire.proxy_protocol.is_some() {
        let message = "the PROXY protocol is not supported yet";
        findings.refuse_unsupported(&path.field("proxyProtocol"), message);
    }
    let budget = wire.retry_budget.as_ref();
    let budget = budget.map(|wire| retry_budget(wire, &path.field("retryBudget"), findings));
    let ports = ports(wire, path, findings);
    Some(TrafficPolicy {
        load_balancer: of_all.load_balancer,
        connection_pool: of_all.connection_pool,
        outlier_detection: of_all.outlier_detection,
        tls: of_all.tls,
        retry_budget: budget,
        ports: ports?,
    })
}

/// What a policy of all ports and one of a single port have in common.
fn parts(
    balancer: Option<&WireBalancer>,
    pool: Option<&WirePool>,
    outliers: Option<&WireOutliers>,
    tls: Option<&WireTls>,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> PortPolicy {
    let ejects = outliers.is_some();
    PortPolicy {
        load_balancer: balancer
            .map(|wire| load_balancer::read(wire, ejects, &path.field("loadBalancer"), findings)),
        connection_pool: pool
            .map(|wire| connection_pool(wire, &path.field("connectionPool"), findings)),
        outlier_detection: outliers
            .map(|wire| outlier_detection::read(wire, &path.field("outlierDetection"), findings)),
        tls: tls.map(|wire| tls::read(wire, &path.field("tls"), findings)),
    }
}

fn ports(
    wire: &WirePolicy,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<BTreeMap<u16, PortPolicy>> {
    let list = path.field("portLevelSettings");
    let mut seen = BTreeSet::new();
    let ports = rules::each(
        &wire.port_level_settings,
        &list,
        findings,
        |level, at, findings| {
            let port_path = at.field("port");
            let number = match &level.port {
                None => {
                    findings
                        .error(&port_path, "the port is required")
                        .suggest("add port: {number: N}");
                    None
                }
                Some(port) if !seen.insert(port.number) => {
                    findings.error(&port_path, format!("duplicate port {}", port.number));
                    None
                }
                Some(port) => rules::port(port.number, &port_path.field("number"), findings),
            };
            let policy = parts(
                level.load_balancer.as_ref(),
                level.connection_pool.as_ref(),
                level.outlier_detection.as_ref(),
                level.tls.as_ref(),
                at,
                findings,
            );
            Some((number?, policy))
        },
    );
    Some(ports?.into_iter().collect())
}

fn retry_budget(
    wire: &WireBudget,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> RetryBudget {
    if let Some(percent) = wire.percent {
        rules::percent(percent, &path.field("percent"), findings);
    }
    if wire
        .budget_interval
        .is_some_and(|interval| !interval.0.is_zero())
    {
        findings.not_supported(&path.field("budgetInterval"));
    }
    RetryBudget {
        percent: wire.percent.unwrap_or(RETRY_BUDGET_PERCENT),
        min_retry_concurrency: match wire.min_retry_concurrency {
            0 => RETRY_BUDGET_CONCURRENCY,
            count => count,
        },
    }
}
