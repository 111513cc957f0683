//! What outlier detection found out goes with the settings by which it was found out.

use std::time::Duration;

use super::*;
use crate::upstream::Outcome;
use crate::upstream::shared::SharedEndpoint;

/// A cluster `c` of one endpoint that is ejected by five errors.
fn detecting(interval: u64) -> cds::Cluster {
    let interval = xds::pb::google::protobuf::Duration {
        seconds: i64::try_from(interval).unwrap(),
        nanos: 0,
    };
    cds::Cluster {
        outlier_detection: Some(cds::OutlierDetection {
            interval: Some(interval),
            max_ejection_percent: Some(100.into_value()),
            ..Default::default()
        }),
        ..with_endpoint()
    }
}

fn with_endpoint() -> cds::Cluster {
    cds::Cluster {
        load_assignment: Some(assignment("c", &[80])),
        ..static_cluster()
    }
}

impl Fixture {
    fn endpoint(&mut self) -> SharedEndpoint {
        let id = self.applier.names().cluster("c");
        let runtime = self.in_force.runtime.load();
        runtime.endpoints(id).unwrap().endpoints[0].clone()
    }

    /// Requests to the one endpoint fail, as a worker notes it.
    fn fail(&mut self, times: u32) {
        let endpoint = self.endpoint();
        let cluster = self.cluster("c").unwrap();
        if let Some(detection) = &cluster.outlier_detection {
            let outcome = Outcome::Response(503);
            (0..times).for_each(|_| detection.record(&endpoint.monitor, outcome, self.now));
        }
    }

    fn ejected(&mut self) -> bool {
        self.endpoint().monitor.ejected()
    }
}

#[test]
fn ejected_hosts_return_by_the_clock() {
    let mut fixture = Fixture::new();
    fixture.apply(ResourceType::Cluster, "c", &detecting(10));
    fixture.fail(5);
    assert!(fixture.ejected());
    let mut now = fixture.now;
    for _ in 0..3 {
        now = fixture.applier.deadline().unwrap();
        fixture.applier.tick(now);
    }
    assert_eq!(now, fixture.now + Duration::from_secs(30));
    assert!(!fixture.ejected(), "the base time is thirty seconds");
}

#[test]
fn a_host_that_is_ejected_when_outlier_detection_goes_is_back() {
    let mut fixture = Fixture::new();
    fixture.apply(ResourceType::Cluster, "c", &detecting(10));
    fixture.fail(5);
    fixture.apply(ResourceType::Cluster, "c", &with_endpoint());
    assert!(!fixture.ejected());
    fixture.apply(ResourceType::Cluster, "c", &detecting(10));
    fixture.fail(4);
    assert!(!fixture.ejected(), "nothing was left of the first five");
    fixture.fail(1);
    assert!(fixture.ejected());
}

fn eds_cluster(service_name: &str) -> cds::Cluster {
    use xds::envoy::cluster::cluster::{ClusterDiscoveryType, DiscoveryType, EdsClusterConfig};
    use xds::envoy::core::ConfigSource;
    use xds::envoy::core::config_source::ConfigSourceSpecifier;
    let ads = ConfigSourceSpecifier::Ads(Default::default());
    cds::Cluster {
        name: "c".into(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds as i32)),
        eds_cluster_config: Some(EdsClusterConfig {
            service_name: service_name.into(),
            eds_config: Some(ConfigSource {
                config_source_specifier: Some(ads),
                ..Default::default()
            }),
        }),
        ..Default::default()
    }
}

#[test]
fn a_version_that_never_came_into_force_takes_nothing_with_it() {
    let mut fixture = Fixture::new();
    let eds = || cds::Cluster {
        outlier_detection: detecting(10).outlier_detection,
        ..eds_cluster("c")
    };
    fixture.apply(ResourceType::Cluster, "c", &eds());
    fixture.apply(ResourceType::Endpoint, "c", &assignment("c", &[80]));
    fixture.fail(5);
    // This version waits for endpoints of another name; the one in force must go on without it.
    fixture.apply(ResourceType::Cluster, "c", &eds_cluster("other"));
    let changed = cds::Cluster {
        alt_stat_name: "x".into(),
        ..eds()
    };
    fixture.apply(ResourceType::Cluster, "c", &changed);
    assert_eq!(&*fixture.cluster("c").unwrap().stat_name, "x");
    assert!(fixture.ejected());
    fixture.applier.tick(fixture.now + Duration::from_secs(30));
    assert!(!fixture.ejected());
}

#[test]
fn updates_of_the_rest_of_a_cluster_keep_ejections_and_do_not_put_off_their_end() {
    let mut fixture = Fixture::new();
    fixture.apply(ResourceType::Cluster, "c", &detecting(10));
    fixture.fail(5);
    let start = fixture.now;
    for second in 1..=29 {
        fixture.now = start + Duration::from_secs(second);
        let changed = cds::Cluster {
            alt_stat_name: format!("version {second}"),
            ..detecting(10)
        };
        fixture.apply(ResourceType::Cluster, "c", &changed);
        fixture.applier.tick(fixture.now);
        assert!(fixture.ejected(), "after {second} seconds");
    }
    fixture.applier.tick(start + Duration::from_secs(30));
    assert!(!fixture.ejected());
}

#[test]
fn counts_are_not_compared_with_thresholds_that_came_later() {
    let mut fixture = Fixture::new();
    fixture.apply(ResourceType::Cluster, "c", &detecting(10));
    fixture.fail(4);
    let mut stricter = detecting(10);
    let outliers = stricter.outlier_detection.as_mut().unwrap();
    outliers.consecutive_5xx = Some(2.into_value());
    fixture.apply(ResourceType::Cluster, "c", &stricter);
    fixture.fail(1);
    assert!(!fixture.ejected());
    fixture.fail(1);
    assert!(fixture.ejected());
}
