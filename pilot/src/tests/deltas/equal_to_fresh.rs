//! Whatever changes in whatever order, a proxy that follows has what a new one gets.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mesh_api::authn::{MtlsMode, PeerAuthentication};
use mesh_api::authz::{AuthorizationPolicy, AuthzAction};
use mesh_api::labels::Selector;
use mesh_api::port::Protocol;
use mesh_api::resource::Origin;
use mesh_api::resource::ResourceKey;
use mesh_api::route::{GatewayRef, HttpAction, L4Match, TcpRoute, VirtualService};
use mesh_api::test_util::{meta, service};
use mesh_api::traffic_policy::load_balancer::{
    Algorithm, ConsistentHash, HashAlgorithm, HashKey, LoadBalancer,
};
use mesh_api::traffic_policy::{DestinationRule, TrafficPolicy};
use proptest::prelude::*;

use super::versions::{updated, versions};
use super::*;

const HOSTS: [&str; 6] = [
    "reviews.default.svc.cluster.local",
    "ratings.default.svc.cluster.local",
    "mysql.default.svc.cluster.local",
    "*.default.svc.cluster.local",
    "outside.example.com",
    "*.example.com",
];

const MACHINES: [&str; 3] = ["machine-0", "machine-1", "machine-2"];

const NAMESPACES: [&str; 3] = ["default", "istio-system", "other"];

/// One change. Numbers choose among a few.
#[derive(Clone, Debug)]
enum Event {
    Route {
        name: u8,
        host: u8,
        form: u8,
    },
    NoRoute(u8),
    Rule {
        name: u8,
        host: u8,
        form: u8,
    },
    NoRule(u8),
    Endpoint {
        host: u8,
        weight: u8,
    },
    Policy {
        namespace: u8,
        selects: bool,
    },
    PeerMode {
        namespace: u8,
        disable: bool,
    },
    Service(bool),
    /// Whether the reviews are served within a machine alone.
    NodeLocal(bool),
    /// The pod of a proxy is on another machine.
    Machine(u8),
    /// Proxies miss this world.
    Unseen(Box<Self>),
}

fn event() -> impl Strategy<Value = Event> {
    let byte = any::<u8>;
    let one = prop_oneof![
        4 => (byte(), byte(), byte()).prop_map(|(name, host, form)| Event::Route { name, host, form }),
        2 => byte().prop_map(Event::NoRoute),
        4 => (byte(), byte(), byte()).prop_map(|(name, host, form)| Event::Rule { name, host, form }),
        2 => byte().prop_map(Event::NoRule),
        2 => (byte(), byte()).prop_map(|(host, weight)| Event::Endpoint { host, weight }),
        1 => (byte(), any::<bool>()).prop_map(|(namespace, selects)| Event::Policy { namespace, selects }),
        1 => (byte(), any::<bool>()).prop_map(|(namespace, disable)| Event::PeerMode { namespace, disable }),
        1 => any::<bool>().prop_map(Event::Service),
        1 => any::<bool>().prop_map(Event::NodeLocal),
        1 => byte().prop_map(Event::Machine),
    ];
    (one, prop::bool::weighted(0.2)).prop_map(|(event, unseen)| match unseen {
        true => Event::Unseen(Box::new(event)),
        false => event,
    })
}

fn of<T: Copy>(all: &[T], number: u8) -> T {
    all[usize::from(number) % all.len()]
}

/// Routes, delegates, rules for bytes, for gateways, for labels of clients.
fn route(name: u8, host: u8, form: u8) -> VirtualService {
    let to_host = of(&HOSTS[..3], form / 8);
    let mut object = virtual_service(
        &format!("route-{}", name % 4),
        of(&HOSTS, host),
        (form % 8 == 1).then_some("front"),
        vec![rule(
            Vec::new(),
            to(to_host, &[(of(&["v1", "v2"], form), 0)]),
        )],
    );
    match form % 8 {
        2 => object.hosts.clear(),
        3 => {
            object.http[0].action = HttpAction::Delegate {
                namespace: "default".into(),
                name: format!("route-{}", form / 8 % 4).as_str().into(),
            };
        }
        4 => {
            object.tcp = vec![TcpRoute {
                origin: Origin::BuiltIn,
                matches: vec![L4Match::default()],
                route: vec![destination(to_host, "", 0)],
            }];
        }
        5 => {
            let mut one = header("x", "y");
            one.source_labels = labels(&[("version", "v1")]);
            object.http[0].matches = vec![one];
        }
        6 => object.http.clear(),
        7 => object.gateways.push(GatewayRef::Gateway {
            namespace: "default".into(),
            name: "front".into(),
        }),
        _ => {}
    }
    object
}

/// Rules of several namespaces, some for some clients, some with hashes that routes show.
fn subsets(name: u8, host: u8, form: u8) -> DestinationRule {
    let mut policy = TrafficPolicy::default();
    if form.is_multiple_of(3) {
        policy.load_balancer = Some(LoadBalancer {
            algorithm: Algorithm::ConsistentHash(ConsistentHash {
                key: HashKey::SourceIp,
                algorithm: HashAlgorithm::RingHash {
                    minimum_ring_size: 1024,
                },
            }),
            locality: None,
            warmup: None,
        });
    }
    let mut object = destination_rule(&format!("rule-{}", name % 4), of(&HOSTS, host), policy);
    object.meta.key.namespace = of(&NAMESPACES, form / 3).into();
    object.subsets.truncate(usize::from(form % 4));
    if form.is_multiple_of(5) {
        object.workload_selector = Some(Selector::new(labels(&[("app", "reviews")])));
    }
    object
}

fn policy(namespace: u8, selects: bool) -> AuthorizationPolicy {
    let app = if selects { "reviews" } else { "nobody" };
    AuthorizationPolicy {
        meta: meta("AuthorizationPolicy", of(&NAMESPACES, namespace), "policy"),
        selector: Some(Selector::new(labels(&[("app", app)]))),
        action: AuthzAction::Deny,
        rules: Vec::new(),
        dry_run: false,
    }
}

fn peer_mode(namespace: u8, disable: bool) -> PeerAuthentication {
    PeerAuthentication {
        meta: meta("PeerAuthentication", of(&NAMESPACES, namespace), "mode"),
        selector: None,
        mode: Some(if disable {
            MtlsMode::Disable
        } else {
            MtlsMode::Strict
        }),
        port_modes: BTreeMap::new(),
    }
}

/// Bookinfo with a database, a gateway, and the events' first objects.
fn mesh() -> Snapshot {
    let mut mesh = Mesh::bookinfo();
    let mut database = service("default", "mysql", "10.96.0.20", 3306, Protocol::Tcp);
    database.selector = Some(Selector::new(labels(&[("app", "mysql")])));
    mesh.add_service(database, vec![pod("10.244.7.0", "default", "mysql", "v1")]);
    let front = server(8080, Protocol::Http, "*", None);
    mesh.add_gateway(gateway("front", vec![front]));
    mesh.snapshot.mesh = Arc::new(mesh_api::mesh_config::MeshConfig {
        root_namespace: "istio-system".into(),
        ..Default::default()
    });
    let endpoints = edit(&mut mesh.snapshot.endpoints);
    let endpoints = endpoints.get_mut(&reviews()).unwrap();
    for of_port in Arc::make_mut(endpoints).by_port.values_mut() {
        for (endpoint, machine) in of_port.iter_mut().zip(MACHINES) {
            Arc::make_mut(endpoint).node = machine.into();
        }
    }
    mesh.snapshot
}

fn reviews() -> ServiceKey {
    ServiceKey {
        hostname: HOSTS[0].parse().unwrap(),
        namespace: "default".into(),
    }
}

fn apply(following: &mut Following, event: &Event) {
    let change = |following: &mut Following, changes, change: &dyn Fn(&mut Snapshot)| {
        let mut snapshot = Snapshot::clone(following.world.snapshot());
        change(&mut snapshot);
        snapshot.version += 1;
        snapshot.changes = Arc::new(changes);
        following.world = Arc::new(following.world.next(Arc::new(snapshot)));
    };
    match event {
        Event::Unseen(event) => apply(following, event),
        Event::Route { name, host, form } => {
            let object = route(*name, *host, *form);
            change(following, object_changed(&object.meta), &|snapshot| {
                put(&mut snapshot.virtual_services, object.clone());
            });
        }
        Event::NoRoute(name) => {
            let object = route(*name, 0, 0);
            change(following, object_changed(&object.meta), &|snapshot| {
                let key: &ResourceKey = &object.meta.key;
                take(&mut snapshot.virtual_services, key);
            });
        }
        Event::Rule { name, host, form } => {
            let object = subsets(*name, *host, *form);
            change(following, object_changed(&object.meta), &|snapshot| {
                put(&mut snapshot.destination_rules, object.clone());
            });
        }
        Event::NoRule(name) => {
            let object = subsets(*name, 0, name / 4);
            change(following, object_changed(&object.meta), &|snapshot| {
                let key: &ResourceKey = &object.meta.key;
                take(&mut snapshot.destination_rules, key);
            });
        }
        Event::Endpoint { host, weight } => {
            let key = ServiceKey {
                hostname: of(&HOSTS[..3], *host).parse().unwrap(),
                namespace: "default".into(),
            };
            change(following, endpoints_changed(&key), &|snapshot| {
                let endpoints = edit(&mut snapshot.endpoints).get_mut(&key).unwrap();
                for of_port in Arc::make_mut(endpoints).by_port.values_mut() {
                    for endpoint in of_port {
                        Arc::make_mut(endpoint).weight = u32::from(weight % 3);
                    }
                }
            });
        }
        Event::Policy { namespace, selects } => {
            let object = policy(*namespace, *selects);
            change(following, object_changed(&object.meta), &|snapshot| {
                put(&mut snapshot.authorization_policies, object.clone());
            });
        }
        Event::PeerMode { namespace, disable } => {
            let object = peer_mode(*namespace, *disable);
            change(following, object_changed(&object.meta), &|snapshot| {
                put(&mut snapshot.peer_authentications, object.clone());
            });
        }
        Event::Service(there) => {
            let object = service("default", "extra", "10.96.0.30", 9080, Protocol::Http);
            change(following, object_changed(&object.meta), &|snapshot| {
                let mut mesh = Mesh {
                    snapshot: snapshot.clone(),
                };
                mesh.add_service(object.clone(), Vec::new());
                if !there {
                    edit(&mut mesh.snapshot.services).remove(&ServiceKey::of(&object));
                }
                *snapshot = mesh.snapshot;
            });
        }
        Event::NodeLocal(node_local) => {
            let key = reviews();
            let object = &following.world.snapshot().services[&key];
            change(
                following,
                object_changed(&object.meta.clone()),
                &|snapshot| {
                    let object = edit(&mut snapshot.services).get_mut(&key).unwrap();
                    Arc::make_mut(object).node_local = *node_local;
                },
            );
        }
        Event::Machine(machine) => {
            let ip: IpAddr = "10.244.0.0".parse().unwrap();
            let changes = Changes {
                workloads: [ip].into(),
                ..Default::default()
            };
            change(following, changes, &|snapshot| {
                let workload = edit(&mut snapshot.workloads).get_mut(&ip).unwrap();
                Arc::make_mut(workload).node = MACHINES[usize::from(*machine) % 3].into();
            });
        }
    }
}

/// Lets proxies follow, and compares what they have and are sent with what new ones get.
fn check(events: Vec<Event>) -> Result<(), TestCaseError> {
    let nodes = [
        sidecar("reviews", "v1", "10.244.2.0", "weft"),
        sidecar("productpage", "v1", "10.244.0.0", "envoy"),
        ingress("envoy"),
    ];
    let mut following = Following::new(mesh(), nodes);
    for event in events {
        apply(&mut following, &event);
        if matches!(event, Event::Unseen(_)) {
            continue;
        }
        let fresh = World::new(Arc::clone(following.world.snapshot()));
        for proxy in 0..following.proxies.len() {
            let before = Arc::clone(&following.proxies[proxy].1);
            following.follow(proxy);
            let (caller, after) = &following.proxies[proxy];
            let expected = versions(&fresh.resources(caller, BTreeSet::new(), None));
            let id = &caller.node.id;
            prop_assert_eq!(&versions(after), &expected, "{} after {:?}", id, event);
            let has = updated(versions(&before), &before, after);
            prop_assert_eq!(&has, &expected, "{} is sent after {:?}", id, event);
        }
    }
    Ok(())
}

#[test]
fn a_rule_reaches_the_routes_of_hosts_that_only_a_route_knows() {
    let route = Event::Route {
        name: 0,
        host: 4,
        form: 8,
    };
    let hashed = Event::Rule {
        name: 0,
        host: 1,
        form: 0,
    };
    check(vec![route, hashed]).unwrap();
}

#[test]
fn a_route_hides_the_rules_for_bytes_of_another_for_the_same_host() {
    let of_mysql = |name, form| Event::Route {
        name,
        host: 2,
        form,
    };
    let gone = Event::NoRoute(0);
    check(vec![of_mysql(3, 4), of_mysql(0, 6), gone]).unwrap();
    check(vec![of_mysql(0, 78), of_mysql(1, 84)]).unwrap();
}

#[test]
fn a_proxy_that_moved_is_served_by_its_new_machine() {
    check(vec![
        Event::Machine(0),
        Event::NodeLocal(true),
        Event::Machine(1),
        Event::NodeLocal(false),
    ])
    .unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn who_follows_has_what_a_new_proxy_gets(events in prop::collection::vec(event(), 1..24)) {
        check(events)?;
    }
}
