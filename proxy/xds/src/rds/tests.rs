//! Whole route configurations.

use xds::envoy::core::{HeaderValue as WireValue, HeaderValueOption};
use xds::envoy::route::route_match::PathSpecifier;

use super::*;
use crate::config::ClusterId;
use crate::config::names::Names;
use crate::config::route::{Action, ClusterSpecifier};
use crate::config::secret::ResourceSource;

fn translate(proto: &wire::RouteConfiguration) -> Result<RouteConfig, String> {
    let mut context = ApplyContext {
        names: &mut Names::default(),
        previous_listener: None,
        further_filters: &[],
        node: &Arc::default(),
        source: ResourceSource::default(),
    };
    route_config(proto, &mut context).map_err(|error| error.to_string())
}

fn to_cluster(cluster: &str) -> wire::Route {
    let action = wire::RouteAction {
        cluster_specifier: Some(wire::route_action::ClusterSpecifier::Cluster(
            cluster.into(),
        )),
        ..wire::RouteAction::default()
    };
    wire::Route {
        r#match: Some(wire::RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix("/".into())),
            ..wire::RouteMatch::default()
        }),
        action: Some(wire::route::Action::Route(action)),
        ..wire::Route::default()
    }
}

fn host(domain: &str, routes: Vec<wire::Route>) -> wire::VirtualHost {
    wire::VirtualHost {
        name: domain.into(),
        domains: vec![domain.into()],
        routes,
        ..wire::VirtualHost::default()
    }
}

fn config(virtual_hosts: Vec<wire::VirtualHost>) -> wire::RouteConfiguration {
    wire::RouteConfiguration {
        name: "9080".into(),
        virtual_hosts,
        ..wire::RouteConfiguration::default()
    }
}

fn set(key: &str) -> Vec<HeaderValueOption> {
    vec![HeaderValueOption {
        header: Some(WireValue {
            key: key.into(),
            value: "1".into(),
            ..WireValue::default()
        }),
        ..HeaderValueOption::default()
    }]
}

#[test]
fn hosts_are_indexed_and_clusters_resolved() {
    let hosts = vec![
        host("a", vec![to_cluster("one"), to_cluster("two")]),
        host("*", vec![to_cluster("one")]),
    ];
    let config = translate(&config(hosts)).unwrap();
    assert_eq!(config.hosts.find("a"), Some(0));
    assert_eq!(config.hosts.find("b"), Some(1));
    let cluster = |host: usize, route: usize| {
        let Action::Forward(forward) = &config.virtual_hosts[host].routes[route].action else {
            panic!("it forwards");
        };
        let ClusterSpecifier::Cluster(cluster) = &forward.cluster else {
            panic!("it has one cluster");
        };
        (cluster.id, cluster.name.to_string())
    };
    assert_eq!(cluster(0, 0), (ClusterId(0), "one".into()));
    assert_eq!(cluster(0, 1), (ClusterId(1), "two".into()));
    assert_eq!(cluster(1, 0), (ClusterId(0), "one".into()));
}

#[test]
fn header_operations_run_from_the_inside_out_unless_the_inside_is_to_win() {
    let order = |most_specific_wins| {
        let route = wire::Route {
            request_headers_to_add: set("x-route"),
            ..to_cluster("one")
        };
        let host = wire::VirtualHost {
            request_headers_to_add: set("x-host"),
            ..host("*", vec![route])
        };
        let config = wire::RouteConfiguration {
            request_headers_to_add: set("x-config"),
            most_specific_header_mutations_wins: most_specific_wins,
            ..config(vec![host])
        };
        let config = translate(&config).unwrap();
        let headers = &config.virtual_hosts[0].routes[0].headers;
        let names = headers
            .iter()
            .map(|ops| format!("{:?}", ops.request.add[0].name));
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        order(false),
        "Name(\"x-route\") Name(\"x-host\") Name(\"x-config\")"
    );
    assert_eq!(
        order(true),
        "Name(\"x-config\") Name(\"x-host\") Name(\"x-route\")"
    );
}

#[test]
fn what_cannot_be_done_is_named() {
    let hedged = {
        let mut route = to_cluster("one");
        if let Some(wire::route::Action::Route(action)) = &mut route.action {
            action.hedge_policy = Some(wire::HedgePolicy::default());
        }
        route
    };
    let error = |hosts| translate(&config(hosts)).unwrap_err();
    assert_eq!(
        error(vec![host("*", vec![hedged])]),
        "virtual_hosts[0].routes[0].route.hedge_policy: this field is not supported"
    );
    assert_eq!(
        error(vec![host("a", vec![]), host("A", vec![])]),
        "virtual_hosts[1].domains[0]: domain \"a\" is in more than one virtual host"
    );
    assert_eq!(
        error(vec![host("*", vec![wire::Route::default()])]),
        "virtual_hosts[0].routes[0].match: missing"
    );
}
