//! Names in VirtualServices and DestinationRules that lead nowhere: hosts and
//! subsets (IST0101), and destinations that need a port (IST0112).

use mesh_api::diagnostic::Severity;
use mesh_api::hostname::Hostname;
use mesh_api::route::{Destination, HttpAction, VirtualService};

use super::Report;
use super::hosts::Hosts;
use crate::decode::suggest::nearest;
use crate::manifest::path::FieldPath;
use crate::normalize::Model;
use crate::object::Object;
use crate::store::Store;

const NOT_FOUND: (&str, Severity) = ("IST0101", Severity::Error);
const RULE_HOST_NOT_FOUND: (&str, Severity) = ("IST0101", Severity::Warning);
const PORT_REQUIRED: (&str, Severity) = ("IST0112", Severity::Error);

pub(super) fn analyze(store: &Store, hosts: &Hosts<'_>, report: &mut Report) {
    let root = FieldPath::ROOT;
    let path = root.field("spec");
    for object in store.of_kind("VirtualService") {
        if let Model::VirtualService(rule) = &object.model {
            virtual_service(object, rule, &path, hosts, report);
        }
    }
    for object in store.of_kind("DestinationRule") {
        let Model::DestinationRule(rule) = &object.model else {
            continue;
        };
        let known = match rule.host.is_wildcard() {
            true => hosts.any_covered(&rule.host),
            false => !hosts
                .visible(&rule.host, object.meta.namespace())
                .is_empty(),
        };
        if !known {
            let at = path.field("host");
            let message = format!("host \"{}\" is not registered", rule.host);
            report.add(
                object,
                RULE_HOST_NOT_FOUND,
                &at,
                message,
                advice(&rule.host, object, hosts),
            );
        }
    }
}

fn virtual_service(
    object: &Object,
    rule: &VirtualService,
    path: &FieldPath<'_>,
    hosts: &Hosts<'_>,
    report: &mut Report,
) {
    let http = path.field("http");
    for (index, route) in rule.http.iter().enumerate() {
        let at = http.index(index);
        if let HttpAction::Route(targets) = &route.action {
            let list = at.field("route");
            for (index, target) in targets.iter().enumerate() {
                let at = list.index(index);
                destination(
                    object,
                    &target.destination,
                    &at.field("destination"),
                    hosts,
                    report,
                );
            }
        }
        let list = at.field("mirrors");
        for (index, mirror) in route.mirrors.iter().enumerate() {
            let item = list.index(index);
            // The single `mirror` comes last and stands one level up.
            let single = at.field("mirror");
            let alone =
                single.position_in(&object.document.node) != at.position_in(&object.document.node);
            let path = if alone {
                single
            } else {
                item.field("destination")
            };
            destination(object, &mirror.destination, &path, hosts, report);
        }
    }
    let tls = rule.tls.iter().map(|route| &route.route);
    let tcp = rule.tcp.iter().map(|route| &route.route);
    for (name, routes) in [("tls", tls.collect::<Vec<_>>()), ("tcp", tcp.collect())] {
        let list = path.field(name);
        for (index, targets) in routes.into_iter().enumerate() {
            let at = list.index(index);
            let list = at.field("route");
            for (index, target) in targets.iter().enumerate() {
                let at = list.index(index);
                destination(
                    object,
                    &target.destination,
                    &at.field("destination"),
                    hosts,
                    report,
                );
            }
        }
    }
}

fn destination(
    object: &Object,
    destination: &Destination,
    path: &FieldPath<'_>,
    hosts: &Hosts<'_>,
    report: &mut Report,
) {
    let host = &destination.host;
    let services = hosts.visible(host, object.meta.namespace());
    if services.is_empty() {
        let message = match hosts.exists(host) {
            true => format!(
                "host \"{host}\" is not exported to namespace \"{}\"",
                object.meta.namespace()
            ),
            false => format!("host \"{host}\" is not registered: requests to it get 503"),
        };
        report.add(
            object,
            NOT_FOUND,
            &path.field("host"),
            message,
            advice(host, object, hosts),
        );
        return;
    }
    if let Some(subset) = &destination.subset {
        let known = hosts.subsets(host);
        if !known.contains(subset) {
            let message = format!(
                "no DestinationRule of \"{host}\" defines subset \"{subset}\": requests to it get 503"
            );
            let names = known.iter().map(|name| name.to_string()).collect();
            let suggestion = match known.is_empty() {
                true => "add a DestinationRule with this subset".to_owned(),
                false => format!("subsets of the host: {}", super::list(&names)),
            };
            report.add(
                object,
                NOT_FOUND,
                &path.field("subset"),
                message,
                Some(suggestion),
            );
        }
    }
    let several = services.iter().all(|service| service.ports.len() > 1);
    if destination.port.is_none() && several {
        let message = format!("\"{host}\" has several ports, and none is chosen");
        let ports = services[0]
            .ports
            .iter()
            .map(|port| port.number.to_string())
            .collect();
        let suggestion = format!("add port: {{number: N}}, one of {}", super::list(&ports));
        report.add(object, PORT_REQUIRED, path, message, Some(suggestion));
    }
}

/// The usual mistakes: a short name in the wrong namespace, or a slip of the finger.
fn advice(host: &Hostname, object: &Object, hosts: &Hosts<'_>) -> Option<String> {
    if hosts.exists(host) {
        return None;
    }
    let (first, rest) = host.as_str().split_once('.')?;
    let elsewhere = hosts
        .names()
        .find(|name| name.split('.').next() == Some(first));
    if let Some(name) = elsewhere {
        return Some(format!(
            "short names are those of the rule's namespace \"{}\"; write \"{name}\"",
            object.meta.namespace()
        ));
    }
    let beside = hosts.names().filter_map(|name| name.split_once('.'));
    let names = beside
        .filter(|(_, others)| *others == rest)
        .map(|(name, _)| name);
    nearest(first, names).map(|name| format!("did you mean \"{name}.{rest}\"?"))
}
