//! `AuthorizationPolicy`, security.istio.io.

use super::definition::constraint::one_target;
use super::{LabelSelector, TargetRef, wire};
use crate::decode::jsonpb::wire_enum;

wire! {
    #[schemars(extend("x-kubernetes-validations" = [one_target()]))]
    AuthorizationPolicy {
        selector: Option<LabelSelector>,
        target_ref: Option<TargetRef>,
        target_refs: Vec<TargetRef>,
        rules: Vec<Rule>,
        action: Action,
        provider: Option<Provider>,
    }

    #[schemars(extend("required" = ["name"]))]
    Provider {
        name: String,
    }

    Rule {
        from: Vec<From>,
        to: Vec<To>,
        when: Vec<Condition>,
    }

    From {
        source: Option<Source>,
    }

    To {
        operation: Option<Operation>,
    }

    Source {
        principals: Vec<String>,
        not_principals: Vec<String>,
        request_principals: Vec<String>,
        not_request_principals: Vec<String>,
        namespaces: Vec<String>,
        not_namespaces: Vec<String>,
        service_accounts: Vec<String>,
        not_service_accounts: Vec<String>,
        ip_blocks: Vec<String>,
        not_ip_blocks: Vec<String>,
        remote_ip_blocks: Vec<String>,
        not_remote_ip_blocks: Vec<String>,
        trust_domains: Vec<String>,
        not_trust_domains: Vec<String>,
    }

    Operation {
        hosts: Vec<String>,
        not_hosts: Vec<String>,
        ports: Vec<String>,
        not_ports: Vec<String>,
        methods: Vec<String>,
        not_methods: Vec<String>,
        paths: Vec<String>,
        not_paths: Vec<String>,
    }

    #[schemars(extend("required" = ["key"]))]
    Condition {
        key: String,
        values: Vec<String>,
        not_values: Vec<String>,
    }
}

wire_enum!(
    Action {
        #[default]
        Allow = "ALLOW" / 0,
        Deny = "DENY" / 1,
        Audit = "AUDIT" / 2,
        Custom = "CUSTOM" / 3,
    }
);
