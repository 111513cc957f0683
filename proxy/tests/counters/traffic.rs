//! All traffic, and then the list of what it has not moved.

use super::fixture::Fixture;
use super::{downstream, upstream};

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_the_data_plane_counts() {
    let mut fixture = Fixture::start().await;
    upstream::responses(&mut fixture).await;
    upstream::failures(&mut fixture).await;
    upstream::grpc(&mut fixture).await;
    upstream::limits(&mut fixture).await;
    downstream::listeners(&mut fixture).await;
    downstream::tcp(&mut fixture).await;
    downstream::http(&mut fixture).await;
    downstream::http2(&mut fixture).await;
    let held = fixture.begin("/http1/hold").await;
    let process = [
        "envoy_server_live",
        "envoy_server_total_connections",
        "envoy_server_uptime",
        "envoy_control_plane_connected_state",
    ];
    fixture.until_on_admin_port(&process).await;
    drop(held);
    assert_eq!(fixture.seen.missing(), Vec::<String>::new());
    fixture.proxy.data_plane.stop().await;
}
