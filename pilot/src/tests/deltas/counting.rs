//! The work for a change is the same in meshes of every size.

use mesh_api::authz::{AuthorizationPolicy, AuthzAction};
use mesh_api::labels::Selector;
use mesh_api::port::Protocol;
use mesh_api::route::matcher::StringMatch;
use mesh_api::test_util::{meta, service};

use super::*;

const SIZES: [usize; 3] = [10, 1_000, 10_000];

fn host(number: usize) -> String {
    format!("{}.{}.svc.cluster.local", name(number), namespace(number))
}

fn name(number: usize) -> String {
    format!("service-{number}")
}

/// Ten services each.
fn namespace(number: usize) -> String {
    format!("namespace-{}", number / 10)
}

/// Services with two endpoints; every tenth has a rule for its subsets and routes to them.
fn mesh(services: usize) -> Snapshot {
    let mut mesh = Mesh::bookinfo();
    for number in 0..services {
        let ip = format!("10.97.{}.{}", number / 250, number % 250);
        let (name, namespace) = (name(number), namespace(number));
        let mut object = service(&namespace, &name, &ip, 8080, Protocol::Http);
        object.selector = Some(Selector::new(labels(&[("app", &name)])));
        let pod = |index| {
            let ip = format!("10.{}.{}.{}", 100 + index, number / 250, number % 250);
            pod(&ip, &namespace, &name, &format!("v{index}"))
        };
        mesh.add_service(object, vec![pod(1), pod(2)]);
        if number % 10 == 0 {
            put(&mut mesh.snapshot.virtual_services, route(number, "v1"));
            put(&mut mesh.snapshot.destination_rules, subsets(number));
        }
    }
    mesh.snapshot
}

fn route(number: usize, subset: &str) -> mesh_api::route::VirtualService {
    let matches = vec![uri(StringMatch::Prefix("/a".into()))];
    let rules = vec![
        rule(matches, to(&host(number), &[(subset, 0)])),
        rule(Vec::new(), to(&host(number), &[("v2", 0)])),
    ];
    let mut object = virtual_service(&name(number), &host(number), None, rules);
    object.meta = meta("VirtualService", &namespace(number), &name(number));
    object
}

fn subsets(number: usize) -> mesh_api::traffic_policy::DestinationRule {
    let mut object = destination_rule(&name(number), &host(number), Default::default());
    object.meta = meta("DestinationRule", &namespace(number), &name(number));
    object
}

fn policy(action: AuthzAction) -> AuthorizationPolicy {
    AuthorizationPolicy {
        meta: meta("AuthorizationPolicy", "default", "reviews"),
        selector: Some(Selector::new(labels(&[("app", "reviews")]))),
        action,
        rules: Vec::new(),
        dry_run: false,
    }
}

/// Two groups of proxies: Envoy and ours see different clusters.
fn proxies(services: usize) -> Following {
    let nodes = [
        sidecar("reviews", "v1", "10.244.2.0", "weft"),
        sidecar("reviews", "v2", "10.244.2.1", "weft"),
        sidecar("ratings", "v1", "10.244.3.0", "envoy"),
    ];
    Following::new(mesh(services), nodes)
}

fn add_endpoint(mesh: &mut Following, number: usize) -> Done {
    let key = ServiceKey {
        hostname: host(number).parse().unwrap(),
        namespace: namespace(number).as_str().into(),
    };
    mesh.publish(endpoints_changed(&key), |snapshot| {
        let ip = "10.200.0.1";
        let added = pod(ip, &namespace(number), &name(number), "v1");
        let added = Arc::new(endpoint(&added, 8080));
        let of_service = edit(&mut snapshot.endpoints).get_mut(&key).unwrap();
        let by_port = &mut Arc::make_mut(of_service).by_port;
        by_port.get_mut(&8080).unwrap().push(added);
    })
}

/// Every step in a mesh of some size.
fn steps(services: usize) -> Vec<(&'static str, Done)> {
    let mut mesh = proxies(services);
    let endpoint = add_endpoint(&mut mesh, 5);
    let endpoint_with_subset = add_endpoint(&mut mesh, 0);
    let object = route(0, "v2");
    let route = mesh.publish(object_changed(&object.meta), |snapshot| {
        put(&mut snapshot.virtual_services, object.clone());
    });
    let mut object = subsets(0);
    object.subsets.pop();
    let rule = mesh.publish(object_changed(&object.meta), |snapshot| {
        put(&mut snapshot.destination_rules, object.clone());
    });
    let object = policy(AuthzAction::Deny);
    let policy = mesh.publish(object_changed(&object.meta), |snapshot| {
        put(&mut snapshot.authorization_policies, object.clone());
    });
    let proxy = mesh.connect(sidecar("details", "v1", "10.244.1.0", "weft"));
    let like = mesh.connect(sidecar("reviews", "v3", "10.244.2.2", "weft"));
    vec![
        ("endpoint added", endpoint),
        ("endpoint of a subset added", endpoint_with_subset),
        ("route changed", route),
        ("destination rule changed", rule),
        ("policy changed", policy),
        ("proxy connected", proxy),
        ("proxy connected whose like is there", like),
    ]
}

#[test]
fn the_work_for_a_change_is_the_same_at_every_size() {
    let done = |generated, visited| Done { generated, visited };
    let expected = vec![
        // One assignment, which both groups share; each group looks at the service twice.
        ("endpoint added", done(1, 4)),
        // The assignments of the whole and of its three subsets.
        ("endpoint of a subset added", done(4, 4)),
        // A virtual host that both groups share, and the configuration with it.
        ("route changed", done(2, 9)),
        // The service's clusters: the rule is in their metadata. One subset is gone.
        ("destination rule changed", done(6, 13)),
        // The listener of the two proxies that it selects, which are equal. Each of the three
        // proxies asks one policy and the service that selects it.
        ("policy changed", done(1, 6)),
        // Its listener and the cluster of its port.
        ("proxy connected", done(2, 2)),
        ("proxy connected whose like is there", done(0, 2)),
    ];
    for services in SIZES {
        assert_eq!(steps(services), expected, "{services} services");
    }
}
