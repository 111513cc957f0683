//! Names in VirtualServices and DestinationRules that lead nowhere: hosts and
//! subsets (IST0101), and destinations that need a port (IST0112).

use std::sync::Arc;

use mesh_api::diagnostic::Severity;
use mesh_api::route::{Destination, HttpAction, HttpRoute, VirtualService, WeightedDestination};
use mesh_api::traffic_policy::DestinationRule;

use super::reader::Reader;
use super::{Report, hosts};
use crate::kinds::Model;
use crate::manifest::path::FieldPath;
use crate::object::Object;

const NOT_FOUND: (&str, Severity) = ("IST0101", Severity::Error);
const RULE_HOST_NOT_FOUND: (&str, Severity) = ("IST0101", Severity::Warning);
const PORT_REQUIRED: (&str, Severity) = ("IST0112", Severity::Error);

pub(super) fn analyze(object: &Object, reader: &Reader<'_>, report: &mut Report<'_>) {
    match &object.model {
        Model::VirtualService(rule) => {
            let mut destinations = Destinations {
                object,
                reader,
                report,
            };
            destinations.of_rule(rule);
        }
        Model::DestinationRule(rule) => destination_rule(rule, reader, report),
        _ => {}
    }
}

fn destination_rule(rule: &DestinationRule, reader: &Reader<'_>, report: &mut Report<'_>) {
    let namespace = rule.meta.namespace();
    let known = match rule.host.is_wildcard() {
        true => hosts::any_covered(&rule.host, reader),
        false => !hosts::visible(&rule.host, namespace, reader).is_empty(),
    };
    if !known {
        let root = FieldPath::ROOT;
        let path = root.field("spec");
        let message = format!("host \"{}\" is not registered", rule.host);
        let advice = hosts::advice(&rule.host, namespace, reader);
        report.add(RULE_HOST_NOT_FOUND, &path.field("host"), message, advice);
    }
}

/// The destinations of one VirtualService.
struct Destinations<'a, 'r, 'o> {
    object: &'a Object,
    reader: &'a Reader<'r>,
    report: &'a mut Report<'o>,
}

impl Destinations<'_, '_, '_> {
    fn of_rule(&mut self, rule: &VirtualService) {
        let root = FieldPath::ROOT;
        let path = root.field("spec");
        let http = path.field("http");
        for (index, route) in rule.http.iter().enumerate() {
            self.of_http(route, &http.index(index));
        }
        let tls = path.field("tls");
        for (index, route) in rule.tls.iter().enumerate() {
            self.weighted(&route.route, &tls.index(index));
        }
        let tcp = path.field("tcp");
        for (index, route) in rule.tcp.iter().enumerate() {
            self.weighted(&route.route, &tcp.index(index));
        }
    }

    fn of_http(&mut self, route: &HttpRoute, at: &FieldPath<'_>) {
        if let HttpAction::Route(targets) = &route.action {
            self.weighted(targets, at);
        }
        let list = at.field("mirrors");
        // The single `mirror` comes last and stands one level up.
        let single = at.field("mirror");
        let node = &self.object.document.node;
        let alone = single.position_in(node) != at.position_in(node);
        for (index, mirror) in route.mirrors.iter().enumerate() {
            let item = list.index(index);
            match alone {
                true => self.check(&mirror.destination, &single),
                false => self.check(&mirror.destination, &item.field("destination")),
            }
        }
    }

    fn weighted(&mut self, targets: &[WeightedDestination], at: &FieldPath<'_>) {
        let list = at.field("route");
        for (index, target) in targets.iter().enumerate() {
            let at = list.index(index);
            self.check(&target.destination, &at.field("destination"));
        }
    }

    fn check(&mut self, destination: &Destination, path: &FieldPath<'_>) {
        let host = &destination.host;
        let namespace = self.object.meta.namespace();
        let services = hosts::visible(host, namespace, self.reader);
        let Some(first) = services.first() else {
            let message = match hosts::exists(host, self.reader) {
                true => format!("host \"{host}\" is not exported to namespace \"{namespace}\""),
                false => format!("host \"{host}\" is not registered: requests to it get 503"),
            };
            let advice = hosts::advice(host, namespace, self.reader);
            let at = path.field("host");
            self.report.add(NOT_FOUND, &at, message, advice);
            return;
        };
        self.check_subset(destination, path);
        let several = services.iter().all(|service| service.ports.len() > 1);
        if destination.port.is_none() && several {
            let message = format!("\"{host}\" has several ports, and none is chosen");
            let mut ports: Vec<Arc<str>> = first
                .ports
                .iter()
                .map(|port| port.number.to_string().into())
                .collect();
            ports.sort();
            let suggestion = format!("add port: {{number: N}}, one of {}", super::list(&ports));
            self.report
                .add(PORT_REQUIRED, path, message, Some(suggestion));
        }
    }

    fn check_subset(&mut self, destination: &Destination, path: &FieldPath<'_>) {
        let host = &destination.host;
        let Some(subset) = &destination.subset else {
            return;
        };
        if hosts::has_subset(host, subset, self.reader) {
            return;
        }
        let message = format!(
            "no DestinationRule of \"{host}\" defines subset \"{subset}\": requests to it get 503"
        );
        let known = hosts::subsets(host, self.reader);
        let suggestion = match known.is_empty() {
            true => "add a DestinationRule with this subset".to_owned(),
            false => format!("subsets of the host: {}", super::list(&known)),
        };
        let at = path.field("subset");
        self.report.add(NOT_FOUND, &at, message, Some(suggestion));
    }
}
