//! `TrafficPolicy` and its parts.

mod load_balancer;

use mesh_api::traffic_policy::connection_pool::{ConnectionPool, H2Upgrade, TcpKeepalive};
use mesh_api::traffic_policy::outlier_detection::OutlierDetection;
use mesh_api::traffic_policy::tls::{ClientCertificate, ClientTls, ClientTlsMode};
use mesh_api::traffic_policy::{PortPolicy, RetryBudget, TrafficPolicy};

pub(super) use self::load_balancer::locality;
use super::{Fault, Scope, shared, some};
use crate::crd::traffic_policy as wire;
use crate::manifest::path::FieldPath;

/// Istio's defaults of `retryBudget`.
const RETRY_BUDGET_PERCENT: f64 = 20.0;
const RETRY_BUDGET_CONCURRENCY: u32 = 3;

pub(super) fn normalize(
    policy: Option<&wire::TrafficPolicy>,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<TrafficPolicy, Fault> {
    let Some(policy) = policy else {
        return Ok(TrafficPolicy::default());
    };
    let list = path.field("portLevelSettings");
    let ports = policy
        .port_level_settings
        .iter()
        .enumerate()
        .map(|(index, level)| {
            let at = list.index(index);
            let number = level.port.as_ref().map_or(0, |port| port.number);
            let port_policy = PortPolicy {
                load_balancer: level.load_balancer.as_ref().map(load_balancer::normalize),
                connection_pool: level.connection_pool.as_ref().map(connection_pool),
                outlier_detection: level.outlier_detection.as_ref().map(outlier_detection),
                tls: level.tls.as_ref().map(tls),
            };
            Ok((scope.port(number, &at.field("port"))?, port_policy))
        });
    Ok(TrafficPolicy {
        load_balancer: policy.load_balancer.as_ref().map(load_balancer::normalize),
        connection_pool: policy.connection_pool.as_ref().map(connection_pool),
        outlier_detection: policy.outlier_detection.as_ref().map(outlier_detection),
        tls: policy.tls.as_ref().map(tls),
        retry_budget: policy.retry_budget.as_ref().map(retry_budget),
        ports: ports.collect::<Result<_, Fault>>()?,
    })
}

fn retry_budget(wire: &wire::RetryBudget) -> RetryBudget {
    RetryBudget {
        percent: wire.percent.unwrap_or(RETRY_BUDGET_PERCENT),
        min_retry_concurrency: match wire.min_retry_concurrency {
            0 => RETRY_BUDGET_CONCURRENCY,
            count => count,
        },
    }
}

/// Zero is Istio's "not set" in all counts of a pool.
pub(super) fn connection_pool(wire: &wire::ConnectionPool) -> ConnectionPool {
    let count = |value: i32| u32::try_from(value).ok().filter(|value| *value > 0);
    let mut pool = ConnectionPool::default();
    if let Some(tcp) = &wire.tcp {
        pool.max_connections = count(tcp.max_connections);
        pool.connect_timeout = tcp.connect_timeout.map(|timeout| timeout.0);
        pool.tcp_keepalive = tcp.tcp_keepalive.as_ref().map(tcp_keepalive);
        pool.max_connection_duration = tcp.max_connection_duration.map(|age| age.0);
        pool.tcp_idle_timeout = tcp.idle_timeout.map(|timeout| timeout.0);
    }
    if let Some(http) = &wire.http {
        pool.http1_max_pending_requests = count(http.http1_max_pending_requests);
        pool.http2_max_requests = count(http.http2_max_requests);
        pool.max_requests_per_connection = count(http.max_requests_per_connection);
        pool.max_retries = count(http.max_retries);
        pool.http_idle_timeout = http.idle_timeout.map(|timeout| timeout.0);
        pool.h2_upgrade = match http.h2_upgrade_policy {
            wire::H2UpgradePolicy::Default => H2Upgrade::Default,
            wire::H2UpgradePolicy::DoNotUpgrade => H2Upgrade::DoNotUpgrade,
            wire::H2UpgradePolicy::Upgrade => H2Upgrade::Upgrade,
        };
        pool.use_client_protocol = http.use_client_protocol;
        pool.max_concurrent_streams = count(http.max_concurrent_streams);
        pool.http2_keepalive = http
            .http2_keep_alive
            .as_ref()
            .and_then(|keepalive| Some((keepalive.interval?.0, keepalive.timeout?.0)));
    }
    pool
}

pub(super) fn tcp_keepalive(wire: &wire::TcpKeepalive) -> TcpKeepalive {
    TcpKeepalive {
        probes: Some(wire.probes).filter(|probes| *probes > 0),
        time: wire.time.map(|time| time.0),
        interval: wire.interval.map(|interval| interval.0),
    }
}

/// The deprecated `consecutiveErrors` is the gateway error count, as in Istio.
fn outlier_detection(wire: &wire::OutlierDetection) -> OutlierDetection {
    let default = OutlierDetection::default();
    let percent = |value: i32| u32::try_from(value).unwrap_or(0);
    let gateway = wire.consecutive_gateway_errors;
    let deprecated = u32::try_from(wire.consecutive_errors)
        .ok()
        .filter(|count| *count > 0);
    OutlierDetection {
        consecutive_5xx: wire
            .consecutive_5xx_errors
            .unwrap_or(default.consecutive_5xx),
        consecutive_gateway: gateway
            .or(deprecated)
            .unwrap_or(default.consecutive_gateway),
        split_local_origin: wire.split_external_local_origin_errors,
        consecutive_local_origin: wire
            .consecutive_local_origin_failures
            .unwrap_or(default.consecutive_local_origin),
        interval: wire
            .interval
            .map_or(default.interval, |interval| interval.0),
        base_ejection_time: wire
            .base_ejection_time
            .map_or(default.base_ejection_time, |time| time.0),
        max_ejection_percent: match percent(wire.max_ejection_percent) {
            0 => default.max_ejection_percent,
            percent => percent,
        },
        min_health_percent: percent(wire.min_health_percent),
    }
}

fn tls(wire: &wire::ClientTls) -> ClientTls {
    let ca_certificates = some(&wire.ca_certificates);
    let mode = match wire.mode {
        wire::ClientTlsMode::Disable => ClientTlsMode::Disable,
        wire::ClientTlsMode::IstioMutual => ClientTlsMode::IstioMutual,
        wire::ClientTlsMode::Simple => ClientTlsMode::Simple {
            ca_certificates,
            credential: some(&wire.credential_name),
        },
        wire::ClientTlsMode::Mutual => ClientTlsMode::Mutual(match some(&wire.credential_name) {
            Some(name) => ClientCertificate::Credential(name),
            None => ClientCertificate::Files {
                certificate: wire.client_certificate.as_str().into(),
                private_key: wire.private_key.as_str().into(),
                ca_certificates,
            },
        }),
    };
    ClientTls {
        mode,
        subject_alt_names: shared(&wire.subject_alt_names),
        sni: some(&wire.sni),
        insecure_skip_verify: wire.insecure_skip_verify.unwrap_or(false),
    }
}
