//! Rules of `TrafficPolicy`, wherever it stands.

mod load_balancer;

pub(super) use self::load_balancer::locality;

use std::collections::BTreeSet;

use super::{Findings, rules};
use crate::crd::traffic_policy::{
    ClientTls, ClientTlsMode, ConnectionPool, H2UpgradePolicy, HttpSettings, OutlierDetection,
    RetryBudget, TcpKeepalive, TrafficPolicy,
};
use crate::manifest::path::FieldPath;

pub(super) fn validate(policy: &TrafficPolicy, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    if *policy == TrafficPolicy::default() {
        findings
            .error(path, "the traffic policy is empty")
            .suggest("set at least one of loadBalancer, connectionPool, outlierDetection, tls");
    }
    if let Some(balancer) = &policy.load_balancer {
        let outliers = policy.outlier_detection.is_some();
        load_balancer::validate(balancer, outliers, &path.field("loadBalancer"), findings);
    }
    if let Some(pool) = &policy.connection_pool {
        connection_pool(pool, &path.field("connectionPool"), findings);
    }
    if let Some(outliers) = &policy.outlier_detection {
        outlier_detection(outliers, &path.field("outlierDetection"), findings);
    }
    if let Some(tls_) = &policy.tls {
        tls(tls_, &path.field("tls"), findings);
    }
    if policy.tunnel.is_some() {
        findings.refuse_unsupported(&path.field("tunnel"), "tunnels are not supported yet");
    }
    if policy.proxy_protocol.is_some() {
        let message = "the PROXY protocol is not supported yet";
        findings.refuse_unsupported(&path.field("proxyProtocol"), message);
    }
    if let Some(budget) = &policy.retry_budget {
        retry_budget(budget, &path.field("retryBudget"), findings);
    }
    port_levels(policy, path, findings);
}

fn port_levels(policy: &TrafficPolicy, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let path = path.field("portLevelSettings");
    let mut seen = BTreeSet::new();
    for (index, level) in policy.port_level_settings.iter().enumerate() {
        let at = path.index(index);
        let port_path = at.field("port");
        match &level.port {
            None => {
                findings
                    .error(&port_path, "the port is required")
                    .suggest("add port: {number: N}");
            }
            Some(port) if !seen.insert(port.number) => {
                findings.error(&port_path, format!("duplicate port {}", port.number));
            }
            Some(port) => {
                rules::port(port.number, &port_path.field("number"), findings);
            }
        }
        if let Some(balancer) = &level.load_balancer {
            let outliers = level.outlier_detection.is_some();
            load_balancer::validate(balancer, outliers, &at.field("loadBalancer"), findings);
        }
        if let Some(pool) = &level.connection_pool {
            connection_pool(pool, &at.field("connectionPool"), findings);
        }
        if let Some(outliers) = &level.outlier_detection {
            outlier_detection(outliers, &at.field("outlierDetection"), findings);
        }
        if let Some(tls_) = &level.tls {
            tls(tls_, &at.field("tls"), findings);
        }
    }
}

pub(super) fn connection_pool(
    pool: &ConnectionPool,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    if pool.tcp.is_none() && pool.http.is_none() {
        findings
            .error(path, "the connection pool is empty")
            .suggest("set tcp or http");
    }
    if let Some(tcp) = &pool.tcp {
        let path = path.field("tcp");
        not_negative("maxConnections", tcp.max_connections, &path, findings);
        rules::duration(tcp.connect_timeout, &path.field("connectTimeout"), findings);
        let age = path.field("maxConnectionDuration");
        rules::duration(tcp.max_connection_duration, &age, findings);
        rules::duration_or_zero(tcp.idle_timeout, &path.field("idleTimeout"), findings);
        if let Some(keepalive) = &tcp.tcp_keepalive {
            tcp_keepalive(keepalive, &path.field("tcpKeepalive"), findings);
        }
    }
    if let Some(http) = &pool.http {
        http_pool(http, &path.field("http"), findings);
    }
}

pub(super) fn tcp_keepalive(
    keepalive: &TcpKeepalive,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    rules::duration(keepalive.time, &path.field("time"), findings);
    rules::duration(keepalive.interval, &path.field("interval"), findings);
}

fn http_pool(http: &HttpSettings, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    for (field, value) in [
        ("http1MaxPendingRequests", http.http1_max_pending_requests),
        ("http2MaxRequests", http.http2_max_requests),
        ("maxRequestsPerConnection", http.max_requests_per_connection),
        ("maxRetries", http.max_retries),
        ("maxConcurrentStreams", http.max_concurrent_streams),
    ] {
        not_negative(field, value, path, findings);
    }
    rules::duration_or_zero(http.idle_timeout, &path.field("idleTimeout"), findings);
    if http.use_client_protocol && http.h2_upgrade_policy == H2UpgradePolicy::Upgrade {
        findings
            .error(
                &path.field("useClientProtocol"),
                "the client's protocol cannot be kept and upgraded",
            )
            .suggest("leave h2UpgradePolicy out");
    }
    if let Some(keepalive) = &http.http2_keep_alive {
        let path = path.field("http2KeepAlive");
        for (field, value) in [
            ("interval", keepalive.interval),
            ("timeout", keepalive.timeout),
        ] {
            let at = path.field(field);
            if value.is_none() {
                findings.error(&at, format!("{field} is required"));
            }
            rules::duration(value, &at, findings);
        }
    }
}

fn not_negative(field: &str, value: i32, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    if value < 0 {
        findings.error(&path.field(field), format!("{value} must not be negative"));
    }
}

fn outlier_detection(
    outliers: &OutlierDetection,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    rules::duration(outliers.interval, &path.field("interval"), findings);
    rules::duration(
        outliers.base_ejection_time,
        &path.field("baseEjectionTime"),
        findings,
    );
    for (field, value) in [
        ("maxEjectionPercent", outliers.max_ejection_percent),
        ("minHealthPercent", outliers.min_health_percent),
    ] {
        rules::percent(f64::from(value), &path.field(field), findings);
    }
    not_negative(
        "consecutiveErrors",
        outliers.consecutive_errors,
        path,
        findings,
    );
    if outliers.consecutive_errors != 0 {
        let instead = "consecutiveGatewayErrors or consecutive5xxErrors";
        findings.deprecated(&path.field("consecutiveErrors"), instead);
    }
    let local = outliers
        .consecutive_local_origin_failures
        .is_some_and(|count| count > 0);
    if local && !outliers.split_external_local_origin_errors {
        findings
            .error(
                &path.field("consecutiveLocalOriginFailures"),
                "local failures are not counted apart",
            )
            .suggest("set splitExternalLocalOriginErrors: true");
    }
    let codes = path.field("outlierDetectionHttpErrorCodes");
    for (index, code) in outliers
        .outlier_detection_http_error_codes
        .iter()
        .enumerate()
    {
        if !(100..=599).contains(code) {
            findings.error(&codes.index(index), format!("{code} is not a status code"));
        }
    }
    if !outliers.outlier_detection_http_error_codes.is_empty() {
        findings.not_supported(&codes);
    }
}

fn tls(tls: &ClientTls, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let files = !tls.client_certificate.is_empty()
        || !tls.private_key.is_empty()
        || !tls.ca_certificates.is_empty();
    let credential = !tls.credential_name.is_empty();
    if credential && files {
        findings.error(
            &path.field("credentialName"),
            "a credential and files exclude each other",
        );
    }
    match tls.mode {
        ClientTlsMode::Mutual if !credential => {
            for (field, value) in [
                ("clientCertificate", &tls.client_certificate),
                ("privateKey", &tls.private_key),
            ] {
                if value.is_empty() {
                    findings
                        .error(&path.field(field), format!("mode MUTUAL needs {field}"))
                        .suggest("name the file, or a secret with credentialName");
                }
            }
        }
        ClientTlsMode::IstioMutual if files || credential || !tls.ca_crl.is_empty() => {
            findings
                .error(path, "mode ISTIO_MUTUAL uses the mesh's own certificates")
                .suggest("leave certificates out, or use mode MUTUAL");
        }
        ClientTlsMode::Simple if !files && !credential && tls.insecure_skip_verify.is_none() => {
            findings.warn(
                path,
                "without caCertificates the server is checked against the system's roots",
            );
        }
        _ => {}
    }
    let checks = !tls.ca_certificates.is_empty() || !tls.subject_alt_names.is_empty();
    if tls.insecure_skip_verify == Some(true) && checks {
        findings
            .error(
                &path.field("insecureSkipVerify"),
                "skipping verification excludes what is verified",
            )
            .suggest("leave out caCertificates and subjectAltNames");
    }
    if !tls.ca_crl.is_empty() {
        let message = "revocation lists from files are not supported yet";
        findings.refuse_unsupported(&path.field("caCrl"), message);
    }
}

fn retry_budget(budget: &RetryBudget, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    if let Some(percent) = budget.percent {
        rules::percent(percent, &path.field("percent"), findings);
    }
    if budget
        .budget_interval
        .is_some_and(|interval| !interval.0.is_zero())
    {
        findings.not_supported(&path.field("budgetInterval"));
    }
}
