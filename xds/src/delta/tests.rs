//! Both state machines against each other, through whole exchanges.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::envoy::discovery::DeltaDiscoveryRequest;
use crate::resource::DeltaDiscoveryResponse;
use crate::test_util::{FakeClient, FakeServer, body, exchange};
use crate::type_url::ResourceType::{Cluster, Endpoint};

/// `+name` for every resource sent, `-name` for every removal, one string per response.
fn summary(responses: &[DeltaDiscoveryResponse]) -> Vec<String> {
    let one = |r: &DeltaDiscoveryResponse| {
        let sent = r.resources.iter().map(|r| format!("+{}", r.name));
        let removed = r.removed_resources.iter().map(|name| format!("-{name}"));
        sent.chain(removed).collect::<Vec<_>>().join(" ")
    };
    responses.iter().map(one).collect()
}

fn wildcard_pair(names: &[&str]) -> (FakeServer, FakeClient) {
    let mut server = FakeServer::new(1);
    for name in names {
        server.set(Cluster, name, body(Cluster, "1"));
    }
    let mut client = FakeClient::default();
    client.client.subscribe(Cluster, WILDCARD);
    let first = client.client.connect();
    exchange(&mut server, &mut client, first);
    (server, client)
}

#[test]
fn a_wildcard_gets_everything_once() {
    let (mut server, mut client) = wildcard_pair(&["a", "b"]);
    assert_eq!(client.accepted(Cluster), server.bodies(Cluster));
    assert_eq!(exchange(&mut server, &mut client, vec![]), []);
    assert_eq!(
        server.stream.state(Cluster).unwrap().acks().state(),
        SyncState::Synced
    );
}

#[test]
fn only_what_changed_is_sent() {
    let (mut server, mut client) = wildcard_pair(&["a", "b", "c"]);
    server.set(Cluster, "b", body(Cluster, "2"));
    server.remove(Cluster, "c");
    server.set(Cluster, "d", body(Cluster, "1"));
    let log = exchange(&mut server, &mut client, vec![]);
    assert_eq!(summary(&log), ["+b +d", "-c"]);
    assert_eq!(client.accepted(Cluster), server.bodies(Cluster));
}

#[test]
fn an_empty_first_request_is_the_wildcard_of_clusters_but_not_of_endpoints() {
    let mut server = Server::default();
    for resource_type in [Cluster, Endpoint] {
        let request = DeltaDiscoveryRequest {
            type_url: resource_type.url().into(),
            ..Default::default()
        };
        server.on_request(&request, Layers(&[])).unwrap();
    }
    assert!(server.state(Cluster).unwrap().subscription().is_wildcard());
    assert!(server.state(Endpoint).unwrap().subscription().is_empty());
}

#[test]
fn an_empty_world_is_answered_too() {
    let (server, _) = wildcard_pair(&[]);
    assert_eq!(
        server.stream.state(Cluster).unwrap().acks().sent(),
        Some("1")
    );
}

#[test]
fn names_that_do_not_exist_are_answered_as_removed_until_they_come() {
    let (mut server, mut client) = wildcard_pair(&[]);
    client.client.subscribe(Endpoint, "a");
    assert_eq!(
        client.client.resource(Endpoint, "a"),
        Some(ResourceState::Requested)
    );
    assert_eq!(summary(&exchange(&mut server, &mut client, vec![])), ["-a"]);
    assert_eq!(
        client.client.resource(Endpoint, "a"),
        Some(ResourceState::DoesNotExist)
    );

    server.set(Endpoint, "a", body(Endpoint, "1"));
    assert_eq!(summary(&exchange(&mut server, &mut client, vec![])), ["+a"]);
    let state = client.client.resource(Endpoint, "a");
    assert_eq!(state, Some(ResourceState::Received("100000001".into())));
}

#[test]
fn what_is_unsubscribed_is_not_sent_and_what_is_asked_again_is() {
    let (mut server, mut client) = wildcard_pair(&[]);
    server.set(Endpoint, "a", body(Endpoint, "1"));
    client.client.subscribe(Endpoint, "a");
    exchange(&mut server, &mut client, vec![]);

    client.client.unsubscribe(Endpoint, "a");
    server.set(Endpoint, "a", body(Endpoint, "2"));
    assert_eq!(
        summary(&exchange(&mut server, &mut client, vec![])),
        Vec::<String>::new()
    );
    assert_eq!(client.client.resource(Endpoint, "a"), None);

    client.client.subscribe(Endpoint, "a");
    assert_eq!(summary(&exchange(&mut server, &mut client, vec![])), ["+a"]);
}

#[test]
fn what_is_dropped_and_wanted_again_at_once_is_sent_again() {
    let (mut server, mut client) = wildcard_pair(&[]);
    server.set(Endpoint, "a", body(Endpoint, "1"));
    client.client.subscribe(Endpoint, "a");
    exchange(&mut server, &mut client, vec![]);

    client.client.unsubscribe(Endpoint, "a");
    client.client.subscribe(Endpoint, "a");
    assert_eq!(summary(&exchange(&mut server, &mut client, vec![])), ["+a"]);

    client.client.unsubscribe(Endpoint, "a");
    client.client.subscribe(Endpoint, "a");
    client.client.unsubscribe(Endpoint, "a");
    exchange(&mut server, &mut client, vec![]);
    assert!(
        server
            .stream
            .state(Endpoint)
            .unwrap()
            .subscription()
            .is_empty()
    );
}

#[test]
fn a_refused_resource_keeps_its_last_good_version_and_is_not_sent_again() {
    let (mut server, mut client) = wildcard_pair(&["a", "b"]);
    client.refuse.insert("a".into());
    for name in ["a", "b"] {
        server.set(Cluster, name, body(Cluster, "2"));
    }
    assert_eq!(
        summary(&exchange(&mut server, &mut client, vec![])),
        ["+a +b"]
    );
    assert_eq!(client.accepted(Cluster)["a"], body(Cluster, "1"));
    assert_eq!(client.accepted(Cluster)["b"], body(Cluster, "2"));
    let acks = server.stream.state(Cluster).unwrap().acks();
    assert_eq!(acks.state(), SyncState::Rejected);
    assert_eq!(acks.nack().unwrap().message, "a: told to refuse");
    assert_eq!(exchange(&mut server, &mut client, vec![]), []);

    client.refuse.clear();
    server.set(Cluster, "a", body(Cluster, "3"));
    assert_eq!(summary(&exchange(&mut server, &mut client, vec![])), ["+a"]);
    assert_eq!(
        server.stream.state(Cluster).unwrap().acks().state(),
        SyncState::Synced
    );
}

#[test]
fn after_a_reconnection_only_the_difference_travels() {
    let (mut server, mut client) = wildcard_pair(&["a", "b", "c"]);
    server.disconnect();
    server.set(Cluster, "b", body(Cluster, "2"));
    server.remove(Cluster, "c");
    let first = client.client.connect();
    assert_eq!(
        summary(&exchange(&mut server, &mut client, first)),
        ["+b", "-c"]
    );
    assert_eq!(client.accepted(Cluster), server.bodies(Cluster));
}

#[test]
fn a_refused_version_is_offered_again_after_a_reconnection() {
    let (mut server, mut client) = wildcard_pair(&["a"]);
    client.refuse.insert("a".into());
    server.set(Cluster, "a", body(Cluster, "2"));
    exchange(&mut server, &mut client, vec![]);
    client.refuse.clear();
    server.disconnect();
    let first = client.client.connect();
    assert_eq!(summary(&exchange(&mut server, &mut client, first)), ["+a"]);
}

#[test]
fn another_control_plane_sends_everything_anew() {
    let (_, mut client) = wildcard_pair(&["a", "b"]);
    let mut other = FakeServer::new(2);
    other.set(Cluster, "a", body(Cluster, "1"));
    let first = client.client.connect();
    assert_eq!(
        summary(&exchange(&mut other, &mut client, first)),
        ["+a", "-b"]
    );
}

#[test]
fn a_required_resource_is_sent_although_unchanged() {
    let (mut server, mut client) = wildcard_pair(&["a", "b"]);
    server.stream.require(Cluster, "a");
    assert_eq!(summary(&exchange(&mut server, &mut client, vec![])), ["+a"]);
}

#[test]
fn one_response_is_in_flight_at_a_time() {
    let (mut server, mut client) = wildcard_pair(&["a"]);
    server.set(Cluster, "a", body(Cluster, "2"));
    let sent = server.send();
    server.set(Cluster, "a", body(Cluster, "3"));
    server.set(Cluster, "a", body(Cluster, "4"));
    assert_eq!(server.send(), []);
    let answers = sent.into_iter().filter_map(|r| client.receive(r)).collect();
    assert_eq!(
        summary(&exchange(&mut server, &mut client, answers)),
        ["+a"]
    );
    assert_eq!(client.accepted(Cluster)["a"], body(Cluster, "4"));
}

#[test]
fn a_known_change_looks_at_its_names_alone() {
    let resource = |name: &str| {
        let version = "1".parse().unwrap();
        SharedResource::new(name.into(), version, Endpoint.url(), b"1")
    };
    let mut server = Server::default();
    let request = DeltaDiscoveryRequest {
        type_url: Endpoint.url().into(),
        resource_names_subscribe: vec!["a".into(), "b".into()],
        ..Default::default()
    };
    server.on_request(&request, Layers(&[])).unwrap();
    let mut resources: ResourceMap = ["a", "b", "c"]
        .into_iter()
        .map(|name| (name.into(), resource(name)))
        .collect();
    let names = ["b", "c"].map(Arc::from);
    let mut respond = |resources: &ResourceMap, pass| {
        let sent = server.respond_to_change(Endpoint, Layers(&[resources]), &names, pass)?;
        let acknowledged = DeltaDiscoveryRequest {
            type_url: Endpoint.url().into(),
            response_nonce: sent.nonce.clone(),
            ..Default::default()
        };
        server
            .on_request(&acknowledged, Layers(&[resources]))
            .unwrap();
        Some(summary(&[sent.into_message()]))
    };
    assert_eq!(respond(&resources, Pass::Additions).unwrap(), ["+b"]);
    assert_eq!(respond(&resources, Pass::Everything), None);
    resources.remove_mut("b");
    resources.remove_mut("c");
    assert_eq!(respond(&resources, Pass::Additions), None);
    assert_eq!(respond(&resources, Pass::Everything).unwrap(), ["-b"]);
}

#[test]
fn a_stream_subscribes_to_a_bounded_number_of_names() {
    let mut server = Server::default();
    let mut subscribe = |count: usize| {
        server.on_request(
            &DeltaDiscoveryRequest {
                type_url: Endpoint.url().into(),
                resource_names_subscribe: (0..count).map(|name| name.to_string()).collect(),
                ..Default::default()
            },
            Layers(&[]),
        )
    };
    let refused = Err(RequestError::TooManyNames(Endpoint));
    assert_eq!(subscribe(NAMES_MAX + 1), refused);
    assert!(subscribe(NAMES_MAX - 1).is_ok());
    // Names again cost nothing.
    assert!(subscribe(NAMES_MAX).is_ok());
    assert_eq!(subscribe(NAMES_MAX + 1), refused);
    let state = server.state(Endpoint).unwrap();
    assert_eq!(state.subscription().size().0, NAMES_MAX);
    let long = DeltaDiscoveryRequest {
        type_url: Cluster.url().into(),
        resource_names_subscribe: vec!["x".repeat(NAMES_BYTES_MAX + 1)],
        ..Default::default()
    };
    let refused = Err(RequestError::TooManyNames(Cluster));
    assert_eq!(server.on_request(&long, Layers(&[])), refused);
}

#[test]
fn unknown_types_are_refused() {
    let request = DeltaDiscoveryRequest {
        type_url: "x".into(),
        ..Default::default()
    };
    assert_eq!(
        Server::default().on_request(&request, Layers(&[])),
        Err(RequestError::UnknownType("x".into()))
    );
}

/// What can happen to a pair between two exchanges.
#[derive(Clone, Debug)]
enum Event {
    Set(u8, u8),
    Remove(u8),
    Subscribe(u8),
    Unsubscribe(u8),
    Reconnect,
    Restart,
    Exchange,
}

fn event() -> impl Strategy<Value = Event> {
    let name = 0..4_u8;
    prop_oneof![
        3 => (name.clone(), 0..3_u8).prop_map(|(name, body)| Event::Set(name, body)),
        1 => name.clone().prop_map(Event::Remove),
        2 => name.clone().prop_map(Event::Subscribe),
        1 => name.prop_map(Event::Unsubscribe),
        1 => Just(Event::Reconnect),
        1 => Just(Event::Restart),
        3 => Just(Event::Exchange),
    ]
}

proptest! {
    #[test]
    fn the_client_ends_up_with_what_it_wants(
        events in proptest::collection::vec(event(), 0..40),
        wildcard in any::<bool>(),
    ) {
        // Endpoints are asked for by name, clusters by wildcard.
        let of_type = if wildcard { Cluster } else { Endpoint };
        let mut server = FakeServer::new(1);
        let mut client = FakeClient::default();
        client.client.subscribe(of_type, if wildcard { WILDCARD } else { "0" });
        let mut first = client.client.connect();
        for (epoch, event) in events.into_iter().enumerate() {
            match event {
                Event::Set(name, content) => {
                    server.set(of_type, &name.to_string(), body(of_type, content.to_string()));
                }
                Event::Remove(name) => server.remove(of_type, &name.to_string()),
                Event::Subscribe(name) => client.client.subscribe(of_type, &name.to_string()),
                Event::Unsubscribe(name) => client.client.unsubscribe(of_type, &name.to_string()),
                Event::Reconnect => {
                    server.disconnect();
                    first = client.client.connect();
                }
                Event::Restart => {
                    let bodies = server.bodies(of_type);
                    server = FakeServer::new(epoch as u32 + 2);
                    for (name, body) in bodies {
                        server.set(of_type, &name, body);
                    }
                    first = client.client.connect();
                }
                Event::Exchange => {
                    exchange(&mut server, &mut client, std::mem::take(&mut first));
                }
            }
            client.forget_unsubscribed();
        }
        exchange(&mut server, &mut client, first);
        client.forget_unsubscribed();

        let mut expected = server.bodies(of_type);
        expected.retain(|name, _| client.client.resource(of_type, name).is_some());
        prop_assert_eq!(client.accepted(of_type), expected);
    }
}
