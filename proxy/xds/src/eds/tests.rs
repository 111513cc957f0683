use rstest::rstest;
use xds::envoy::endpoint::cluster_load_assignment::Policy;
use xds::envoy::endpoint::{ClusterLoadAssignment, LbEndpoint};
use xds::pb::google::protobuf as wire;

use super::*;
use crate::test_util::{IntoValue, lb_endpoint, locality};

fn translate(
    proto: &ClusterLoadAssignment,
    previous: Option<&LoadAssignment>,
) -> Result<LoadAssignment, String> {
    let source = ResourceSource::default();
    load_assignment(proto, ClusterId(3), Addresses::None, previous, source)
        .map_err(|error| error.to_string())
}

fn assignment(endpoints: Vec<LbEndpoint>) -> ClusterLoadAssignment {
    ClusterLoadAssignment {
        cluster_name: "c".into(),
        endpoints: vec![locality(0, 1, endpoints)],
        ..Default::default()
    }
}

#[test]
fn priorities_without_endpoints_are_empty() {
    let mut proto = assignment(vec![lb_endpoint("10.0.0.1", 80, 1)]);
    proto
        .endpoints
        .push(locality(2, 5, vec![lb_endpoint("10.0.0.2", 80, 3)]));
    proto.policy = Some(Policy {
        overprovisioning_factor: Some(200.into_value()),
        ..Default::default()
    });
    let translated = translate(&proto, None).unwrap();
    let counts: Vec<usize> = translated.priorities.iter().map(Vec::len).collect();
    assert_eq!(counts, [1, 0, 1]);
    assert_eq!(translated.overprovisioning_factor, 200);
    let (priority, locality, endpoint) = translated.endpoints().last().unwrap();
    assert_eq!((priority, locality.weight, endpoint.weight), (2, 5, 3));
}

#[test]
fn an_endpoint_that_did_not_change_is_the_same() {
    let before = translate(&assignment(vec![lb_endpoint("10.0.0.1", 80, 1)]), None).unwrap();
    let more = assignment(vec![
        lb_endpoint("10.0.0.1", 80, 1),
        lb_endpoint("10.0.0.2", 80, 1),
    ]);
    let after = translate(&more, Some(&before)).unwrap();
    let endpoint = |assignment: &LoadAssignment, n: usize| {
        let mut endpoints = assignment.endpoints();
        endpoints.nth(n).unwrap().2.clone()
    };
    assert!(Arc::ptr_eq(&endpoint(&before, 0), &endpoint(&after, 0)));
    let heavier = assignment(vec![lb_endpoint("10.0.0.1", 80, 9)]);
    let after = translate(&heavier, Some(&before)).unwrap();
    assert_eq!(endpoint(&after, 0).weight, 9);
}

#[test]
fn metadata_tells_the_workload() {
    let value = wire::Value {
        kind: Some(wire::value::Kind::StringValue(
            "reviews-v1;default;reviews;v1;Kubernetes".into(),
        )),
    };
    let fields = [("workload".to_owned(), value)].into();
    let filter_metadata = [("istio".to_owned(), wire::Struct { fields })].into();
    let metadata = xds::envoy::core::Metadata {
        filter_metadata,
        ..Default::default()
    };
    let endpoint = LbEndpoint {
        metadata: Some(metadata),
        ..lb_endpoint("10.0.0.1", 80, 1)
    };
    let translated = translate(&assignment(vec![endpoint]), None).unwrap();
    let (_, _, endpoint) = translated.endpoints().next().unwrap();
    assert_eq!(&*endpoint.peer.as_ref().unwrap().canonical_name, "reviews");
}

#[test]
fn host_names_are_listed_once() {
    let proto = assignment(vec![
        lb_endpoint("b.example", 80, 1),
        lb_endpoint("a.example", 80, 1),
        lb_endpoint("b.example", 81, 1),
        lb_endpoint("10.0.0.1", 80, 1),
    ]);
    assert_eq!(host_names(&proto), ["a.example".into(), "b.example".into()]);
}

#[test]
fn a_logical_name_has_one_address() {
    let proto = assignment(vec![lb_endpoint("a.example", 80, 1)]);
    let resolved = HashMap::from([(
        "a.example".into(),
        vec!["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()],
    )]);
    let count = |addresses| {
        let source = ResourceSource::default();
        load_assignment(&proto, ClusterId(0), addresses, None, source)
            .unwrap()
            .endpoints()
            .count()
    };
    assert_eq!(
        [
            count(Addresses::All(&resolved)),
            count(Addresses::First(&resolved))
        ],
        [2, 1]
    );
}

#[rstest]
#[case::weight(assignment(vec![lb_endpoint("10.0.0.1", 80, 0)]),
    "endpoints[0].load_balancing_weight: must be at least 1")]
#[case::port(assignment(vec![lb_endpoint("10.0.0.1", 80, 1), LbEndpoint::default()]),
    "endpoints[0].lb_endpoints[1].endpoint: missing")]
#[case::priority(ClusterLoadAssignment { endpoints: vec![locality(129, 1, Vec::new())], ..Default::default() },
    "endpoints[0].priority: at most 128: 129")]
#[case::drop(ClusterLoadAssignment {
        policy: Some(Policy { drop_overloads: vec![Default::default()], ..Default::default() }),
        ..Default::default()
    }, "policy.drop_overloads: dropping a share of requests is not supported")]
fn faults_are_named_with_their_field(#[case] proto: ClusterLoadAssignment, #[case] expected: &str) {
    assert_eq!(translate(&proto, None).unwrap_err(), expected);
}
