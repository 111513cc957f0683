//! An unmodified Envoy fetches everything over delta ADS and refuses nothing.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use mesh_api::authn::{MtlsMode, PeerAuthentication};
use mesh_api::test_util::meta;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use super::fixture::*;
use crate::access::Nobody;
use crate::ads::authenticate::PeerIdentity;
use crate::app::{Config, Pilot};

/// Longer than Envoy takes to start and fetch; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ends its process when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn and_acknowledges_all_types() {
    let Some(envoy) = super::accepted_by_envoy::envoy("delta ADS") else {
        return;
    };
    let (_snapshots, receiver) = watch::channel(without_mtls().snapshot());
    let pilot = Pilot::new(receiver, Arc::new(Nobody), Config::default()).unwrap();
    let registry = pilot.registry().clone();
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = incoming.local_addr().unwrap().port();
    let identify = |mut request: Request<()>| {
        request.extensions_mut().insert(PeerIdentity::Trusted);
        Ok(request)
    };
    let service =
        tonic::service::interceptor::InterceptedService::new(pilot.ads_service(), identify);
    tokio::spawn(
        Server::builder()
            .add_service(service)
            .serve_with_incoming(incoming),
    );
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    tokio::spawn(pilot.run(stop));

    let _envoy = Process(
        Command::new(envoy)
            .args([
                "--base-id",
                &port.to_string(),
                "--log-level",
                "warning",
                "--config-yaml",
            ])
            .arg(bootstrap(port))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let synced = async {
        loop {
            let types = registry.status().into_iter().flat_map(|proxy| proxy.types);
            let states: Vec<_> = types
                .map(|(name, state)| (name, state.status, state.nack))
                .collect();
            let refused: Vec<_> = states
                .iter()
                .filter(|(_, _, nack)| nack.is_some())
                .collect();
            assert!(refused.is_empty(), "{refused:?}");
            let all = ["CDS", "EDS", "LDS", "RDS"];
            if all.iter().all(|t| {
                states
                    .iter()
                    .any(|(name, s, _)| name == t && *s == "SYNCED")
            }) {
                return;
            }
            // The registry has no way to wait on it; Envoy's progress is what this waits for.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, synced).await.is_err() {
        panic!("not synced in time: {:?}", registry.status());
    }
}

/// Envoy holds clusters back until it has their certificates, and no one serves any here.
fn without_mtls() -> Mesh {
    let mut mesh = Mesh::bookinfo();
    Arc::make_mut(&mut mesh.snapshot.mesh).enable_auto_mtls = false;
    let disabled = PeerAuthentication {
        meta: meta("PeerAuthentication", "default", "default"),
        selector: None,
        mode: Some(MtlsMode::Disable),
        port_modes: Default::default(),
    };
    add(
        &mut mesh.snapshot.peer_authentications,
        "default".into(),
        disabled,
    );
    mesh
}

fn bootstrap(port: u16) -> String {
    let http2 = serde_json::json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        },
    });
    let cluster = |name: &str, port: u16| {
        serde_json::json!({
            "name": name,
            "typed_extension_protocol_options": http2,
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{
                "endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}},
            }]}]},
        })
    };
    serde_json::json!({
        "node": {
            "id": "sidecar~10.244.0.0~productpage-v1-abc.default~default.svc.cluster.local",
            "cluster": "productpage",
        },
        "static_resources": {"clusters": [cluster("xds-grpc", port), cluster("sds-grpc", 1)]},
        "dynamic_resources": {
            "lds_config": {"ads": {}, "resource_api_version": "V3"},
            "cds_config": {"ads": {}, "resource_api_version": "V3"},
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
            },
        },
    })
    .to_string()
}
