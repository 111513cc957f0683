//! `TrafficPolicy` and its parts, shared by DestinationRule, Sidecar and the mesh
//! configuration.

use std::collections::BTreeMap;

use super::{PortSelector, wire};
use crate::decode::jsonpb::{GoDuration, wire_enum};
use crate::kinds::definition::constraint::at_most_one;

wire! {
    TrafficPolicy {
        /// How an endpoint is chosen
        load_balancer: Option<LoadBalancer>,
        /// Limits of connections and requests
        connection_pool: Option<ConnectionPool>,
        /// When failing endpoints are left out
        outlier_detection: Option<OutlierDetection>,
        /// How connections are encrypted
        tls: Option<ClientTls>,
        /// Policies for single ports
        port_level_settings: Vec<PortTrafficPolicy>,
        tunnel: Option<Tunnel>,
        proxy_protocol: Option<ProxyProtocol>,
        /// Limit of concurrent retries
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
        /// A method without state
        simple: Option<SimpleLb>,
        /// Equal requests go to the same endpoint
        consistent_hash: Option<ConsistentHash>,
        /// Preference of near endpoints
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
        /// Limits of connections
        tcp: Option<TcpSettings>,
        /// Limits of requests
        http: Option<HttpSettings>,
    }

    TcpSettings {
        /// Connections at the same time
        max_connections: i32,
        /// Limit for connecting
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
        /// Requests that wait for a connection
        http1_max_pending_requests: i32,
        /// Requests at the same time
        http2_max_requests: i32,
        /// Requests after which a connection is closed
        max_requests_per_connection: i32,
        /// Retries at the same time
        max_retries: i32,
        /// After how long an idle connection is closed
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
        /// Gateway errors in a row
        consecutive_gateway_errors: Option<u32>,
        /// Server errors in a row
        consecutive_5xx_errors: Option<u32>,
        /// Time between two looks
        interval: Option<GoDuration>,
        /// How long an endpoint is left out, times how often it was
        base_ejection_time: Option<GoDuration>,
        /// Share of endpoints that may be left out
        max_ejection_percent: i32,
        /// Share of healthy endpoints below which none is left out
        min_health_percent: i32,
        outlier_detection_http_error_codes: Vec<u32>,
    }

    ClientTls {
        /// Whether TLS is used, and whose certificates
        mode: ClientTlsMode,
        /// File with the certificate
        client_certificate: String,
        /// File with its key
        private_key: String,
        /// File with the roots of the server
        ca_certificates: String,
        ca_crl: String,
        /// Secret with certificate, key and roots
        credential_name: String,
        /// Names of which the server must have one
        subject_alt_names: Vec<String>,
        /// The server name to ask for
        sni: String,
        /// Do not check the server
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
