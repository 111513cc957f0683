//! `TrafficPolicy` and its parts, shared by DestinationRule, Sidecar and the mesh
//! configuration.

use std::collections::BTreeMap;

use super::definition::constraint::at_most_one;
use super::{PortSelector, wire};
use crate::decode::jsonpb::{GoDuration, wire_enum};

wire! {
    TrafficPolicy {
        load_balancer: Option<LoadBalancer>,
        connection_pool: Option<ConnectionPool>,
        outlier_detection: Option<OutlierDetection>,
        tls: Option<ClientTls>,
        port_level_settings: Vec<PortTrafficPolicy>,
        tunnel: Option<Tunnel>,
        proxy_protocol: Option<ProxyProtocol>,
        retry_budget: Option<RetryBudget>,
    }

    PortTrafficPolicy {
        port: Option<PortSelector>,
        load_balancer: Option<LoadBalancer>,
        connection_pool: Option<ConnectionPool>,
        outlier_detection: Option<OutlierDetection>,
        tls: Option<ClientTls>,
    }

    #[schemars(extend("oneOf" = at_most_one(&["simple", "consistentHash"])))]
    LoadBalancer {
        simple: Option<SimpleLb>,
        consistent_hash: Option<ConsistentHash>,
        locality_lb_setting: Option<LocalityLbSetting>,
        zone_aware_lb_setting: Option<serde_json::Value>,
        warmup: Option<Warmup>,
        warmup_duration_secs: Option<GoDuration>,
    }

    #[schemars(extend("allOf" = [
        {"oneOf": at_most_one(&["httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName"])},
        {"oneOf": at_most_one(&["ringHash", "maglev"])},
    ]))]
    ConsistentHash {
        http_header_name: Option<String>,
        http_query_parameter_name: Option<String>,
        use_source_ip: Option<bool>,
        http_cookie: Option<HttpCookie>,
        ring_hash: Option<RingHash>,
        maglev: Option<Maglev>,
        minimum_ring_size: u64,
    }

    #[schemars(extend("required" = ["name"]))]
    HttpCookie {
        name: String,
        path: String,
        ttl: Option<GoDuration>,
        attributes: Vec<CookieAttribute>,
    }

    #[schemars(extend("required" = ["name"]))]
    CookieAttribute {
        name: String,
        value: String,
    }

    RingHash {
        minimum_ring_size: u64,
    }

    Maglev {
        table_size: u64,
    }

    LocalityLbSetting {
        enabled: Option<bool>,
        distribute: Vec<Distribute>,
        failover: Vec<Failover>,
        failover_priority: Vec<String>,
    }

    Distribute {
        from: String,
        to: BTreeMap<String, u32>,
    }

    Failover {
        from: String,
        to: String,
    }

    #[schemars(extend("required" = ["duration"]))]
    Warmup {
        duration: Option<GoDuration>,
        minimum_percent: Option<f64>,
        aggression: Option<f64>,
    }

    ConnectionPool {
        tcp: Option<TcpSettings>,
        http: Option<HttpSettings>,
    }

    TcpSettings {
        max_connections: i32,
        connect_timeout: Option<GoDuration>,
        tcp_keepalive: Option<TcpKeepalive>,
        max_connection_duration: Option<GoDuration>,
        idle_timeout: Option<GoDuration>,
    }

    TcpKeepalive {
        probes: u32,
        time: Option<GoDuration>,
        interval: Option<GoDuration>,
    }

    HttpSettings {
        http1_max_pending_requests: i32,
        http2_max_requests: i32,
        max_requests_per_connection: i32,
        max_retries: i32,
        idle_timeout: Option<GoDuration>,
        h2_upgrade_policy: H2UpgradePolicy,
        use_client_protocol: bool,
        max_concurrent_streams: i32,
        http2_keep_alive: Option<Http2KeepAlive>,
    }

    Http2KeepAlive {
        interval: Option<GoDuration>,
        timeout: Option<GoDuration>,
    }

    OutlierDetection {
        consecutive_errors: i32,
        split_external_local_origin_errors: bool,
        consecutive_local_origin_failures: Option<u32>,
        consecutive_gateway_errors: Option<u32>,
        consecutive_5xx_errors: Option<u32>,
        interval: Option<GoDuration>,
        base_ejection_time: Option<GoDuration>,
        max_ejection_percent: i32,
        min_health_percent: i32,
        outlier_detection_http_error_codes: Vec<u32>,
    }

    ClientTls {
        mode: ClientTlsMode,
        client_certificate: String,
        private_key: String,
        ca_certificates: String,
        ca_crl: String,
        credential_name: String,
        subject_alt_names: Vec<String>,
        sni: String,
        insecure_skip_verify: Option<bool>,
    }

    #[schemars(extend("required" = ["targetHost", "targetPort"]))]
    Tunnel {
        protocol: String,
        target_host: String,
        target_port: u32,
    }

    ProxyProtocol {
        version: ProxyProtocolVersion,
    }

    RetryBudget {
        percent: Option<f64>,
        min_retry_concurrency: u32,
        budget_interval: Option<GoDuration>,
    }
}

wire_enum!(
    SimpleLb {
        #[default]
        Unspecified = "UNSPECIFIED" / 0,
        LeastConn = "LEAST_CONN" / 1,
        Random = "RANDOM" / 2,
        Passthrough = "PASSTHROUGH" / 3,
        RoundRobin = "ROUND_ROBIN" / 4,
        LeastRequest = "LEAST_REQUEST" / 5,
    }
);

wire_enum!(
    H2UpgradePolicy {
        #[default]
        Default = "DEFAULT" / 0,
        DoNotUpgrade = "DO_NOT_UPGRADE" / 1,
        Upgrade = "UPGRADE" / 2,
    }
);

wire_enum!(
    ClientTlsMode {
        #[default]
        Disable = "DISABLE" / 0,
        Simple = "SIMPLE" / 1,
        Mutual = "MUTUAL" / 2,
        IstioMutual = "ISTIO_MUTUAL" / 3,
    }
);

wire_enum!(
    ProxyProtocolVersion {
        #[default]
        V1 = "V1" / 0,
        V2 = "V2" / 1,
    }
);
