//! Golden text of Istio's metrics.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::SystemTime;

use http::HeaderValue;

use super::*;
use crate::stream_info::{
    ConnectionInfo, DynamicMetadata, PeerCertificate, ResponseFlags, StreamInfo, TlsInfo,
};
use crate::{Registry, WorkerTelemetry, prometheus};

fn peer(name: &str) -> Arc<Peer> {
    Arc::new(Peer {
        workload: format!("{name}-v1").into(),
        namespace: "default".into(),
        canonical_name: name.into(),
        canonical_revision: "v1".into(),
        app: name.into(),
        version: "v1".into(),
        cluster: "Kubernetes".into(),
    })
}

fn info(direction: Direction, tls: Option<TlsInfo>) -> StreamInfo {
    let address: SocketAddr = "10.0.0.1:80".parse().unwrap();
    StreamInfo {
        connection: std::rc::Rc::new(ConnectionInfo {
            buffer_limit_bytes: 1 << 20,
            id: 1,
            direction,
            remote: address,
            direct_remote: address,
            local: address,
            original_destination: None,
            server_name: None,
            tls,
            start: Instant::now(),
            filter_chain: "".into(),
        }),
        remote: address,
        start: Instant::now(),
        start_time: SystemTime::now(),
        protocol: Some(http::Version::HTTP_11),
        method: None,
        original_path: None,
        authority: Some(HeaderValue::from_static("httpbin.org")),
        response_code: 200,
        response_code_details: "".into(),
        flags: ResponseFlags::default(),
        connection_termination_details: None,
        bytes_received: std::rc::Rc::new(Cell::new(3)),
        bytes_sent: std::rc::Rc::new(Cell::new(2000)),
        route_name: None,
        cluster: None,
        cluster_name: Some("PassthroughCluster".into()),
        upstream_host: None,
        upstream_local: None,
        upstream_transport_failure: None,
        upstream_connection: None,
        upstream_endpoint: None,
        upstream_cluster: None,
        upstream_service_time: None,
        attempts: 1,
        grpc_status: None,
        grpc: false,
        grpc_messages: (0, 0),
        dynamic_metadata: DynamicMetadata::default(),
        peer: None,
        logged_request_headers: Default::default(),
        logged_response_headers: Default::default(),
    }
}

fn worker(registry: &Arc<Registry>) -> WorkerTelemetry {
    let sinks = crate::log_sink::LogSinks::new();
    WorkerTelemetry::new(registry, &sinks)
}

fn stats() -> StatsConfig {
    StatsConfig {
        local: peer("reviews"),
        host_header_fallback: true,
    }
}

/// The lines of the page that begin with a name.
fn lines(registry: &Registry, name: &str) -> Vec<String> {
    let page = prometheus::render(registry, &[]);
    page.lines()
        .filter(|line| line.starts_with(name))
        .map(ToOwned::to_owned)
        .collect()
}

#[test]
fn a_server_reports_its_client_by_metadata_and_certificate() {
    let registry = Arc::default();
    let worker = worker(&registry);
    let certificate = PeerCertificate {
        uri_sans: vec!["spiffe://cluster.local/ns/default/sa/productpage".into()],
        ..Default::default()
    };
    let tls = TlsInfo {
        peer: Some(certificate),
        local_uri_sans: vec!["spiffe://cluster.local/ns/default/sa/reviews".into()],
        ..Default::default()
    };
    let mut info = info(Direction::Inbound, Some(tls));
    info.peer = Some(peer("productpage"));
    info.cluster_name = Some("inbound|9080||".into());
    let stats = stats();
    record(&stats, &worker, &info);
    record(&stats, &worker, &info);
    assert_eq!(
        lines(&registry, "istio_requests_total"),
        [concat!(
            "istio_requests_total{reporter=\"destination\",",
            "source_workload=\"productpage-v1\",source_workload_namespace=\"default\",",
            "source_principal=\"spiffe://cluster.local/ns/default/sa/productpage\",",
            "source_app=\"productpage\",source_version=\"v1\",",
            "source_canonical_service=\"productpage\",source_canonical_revision=\"v1\",",
            "source_cluster=\"Kubernetes\",",
            "destination_workload=\"reviews-v1\",destination_workload_namespace=\"default\",",
            "destination_principal=\"spiffe://cluster.local/ns/default/sa/reviews\",",
            "destination_app=\"reviews\",destination_version=\"v1\",",
            "destination_canonical_service=\"reviews\",destination_canonical_revision=\"v1\",",
            "destination_cluster=\"Kubernetes\",",
            "destination_service=\"unknown\",destination_service_name=\"unknown\",",
            "destination_service_namespace=\"default\",",
            "request_protocol=\"http\",response_code=\"200\",grpc_response_status=\"\",",
            "response_flags=\"-\",connection_security_policy=\"mutual_tls\"} 2"
        )]
    );
}

#[test]
fn unknown_destinations_are_called_by_cluster_and_host() {
    let registry = Arc::default();
    let worker = worker(&registry);
    record(&stats(), &worker, &info(Direction::Outbound, None));
    let line = lines(&registry, "istio_requests_total").remove(0);
    for expected in [
        "reporter=\"source\",source_workload=\"reviews-v1\"",
        "destination_workload=\"unknown\"",
        "destination_service=\"httpbin.org\",destination_service_name=\"PassthroughCluster\"",
        "connection_security_policy=\"unknown\"",
    ] {
        assert!(line.contains(expected), "{expected} in {line}");
    }
}

#[test]
fn histograms_are_cumulative_with_istios_bounds() {
    let registry = Arc::default();
    let worker = worker(&registry);
    record(&stats(), &worker, &info(Direction::Outbound, None));
    let ends = |name: &str| -> Vec<String> {
        let lines = lines(&registry, name);
        lines
            .iter()
            .map(|line| {
                line.rsplit_once("le=")
                    .map_or(&**line, |(_, end)| end)
                    .to_owned()
            })
            .collect()
    };
    let response_bytes = ends("istio_response_bytes_bucket");
    assert_eq!(response_bytes[0], "\"0.5\"} 0");
    assert_eq!(
        response_bytes[9..12],
        ["\"1000\"} 0", "\"2500\"} 1", "\"5000\"} 1"]
    );
    assert_eq!(response_bytes[18..], ["\"3600000\"} 1", "\"+Inf\"} 1"]);
    assert!(lines(&registry, "istio_response_bytes_sum")[0].ends_with("} 2000"));
    assert!(lines(&registry, "istio_request_duration_milliseconds_count")[0].ends_with("} 1"));
}

#[test]
fn grpc_messages_and_status_are_told() {
    let registry = Arc::default();
    let worker = worker(&registry);
    let grpc = StreamInfo {
        grpc: true,
        grpc_status: Some(14),
        grpc_messages: (3, 5),
        ..info(Direction::Outbound, None)
    };
    record(&stats(), &worker, &grpc);
    let request = lines(&registry, "istio_request_messages_total").remove(0);
    assert!(request.contains("request_protocol=\"grpc\"") && request.ends_with("} 3"));
    assert!(request.contains("grpc_response_status=\"14\""));
    assert!(lines(&registry, "istio_response_messages_total")[0].ends_with("} 5"));
}

#[test]
fn tcp_connections_count_once_and_bytes_by_their_growth() {
    let registry = Arc::default();
    let worker = worker(&registry);
    let tcp = StreamInfo {
        protocol: None,
        authority: None,
        ..info(Direction::Outbound, None)
    };
    let mut report = tcp_opened(&stats(), &worker, &tcp);
    report.progress(10, 20);
    report.progress(15, 20);
    let value = |name: &str| {
        lines(&registry, name)[0]
            .rsplit_once(' ')
            .unwrap()
            .1
            .to_owned()
    };
    assert_eq!(value("istio_tcp_connections_opened_total"), "1");
    assert_eq!(value("istio_tcp_connections_closed_total"), "0");
    drop(report);
    assert_eq!(value("istio_tcp_connections_closed_total"), "1");
    assert_eq!(value("istio_tcp_received_bytes_total"), "15");
    assert_eq!(value("istio_tcp_sent_bytes_total"), "20");
    let line = lines(&registry, "istio_tcp_sent_bytes_total").remove(0);
    assert!(
        line.contains("request_protocol=\"tcp\",response_flags"),
        "no response code: {line}"
    );
}

#[test]
fn workers_add_up_and_forgotten_series_keep_their_counts() {
    let registry = Arc::default();
    let (first, second) = (worker(&registry), worker(&registry));
    let info = info(Direction::Outbound, None);
    let stats = stats();
    record(&stats, &first, &info);
    record(&stats, &second, &info);
    assert!(lines(&registry, "istio_requests_total")[0].ends_with("} 2"));
    drop(first);
    record(&stats, &second, &info);
    assert!(lines(&registry, "istio_requests_total")[0].ends_with("} 3"));
}
