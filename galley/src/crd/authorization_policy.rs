//! `AuthorizationPolicy`, security.istio.io.

use super::definition::constraint::one_target;
use super::{LabelSelector, TargetRef, wire};
use crate::decode::jsonpb::wire_enum;

wire! {
    #[schemars(extend("x-kubernetes-validations" = [one_target()]))]
    AuthorizationPolicy {
        /// The pods that this is for; all of the namespace without it
        selector: Option<LabelSelector>,
        target_ref: Option<TargetRef>,
        /// The objects that this is for
        target_refs: Vec<TargetRef>,
        /// Requests of which one description fits; none without any
        rules: Vec<Rule>,
        /// What is done with such a request
        action: Action,
        /// Who decides, for CUSTOM
        provider: Option<Provider>,
    }

    #[schemars(extend("required" = ["name"]))]
    Provider {
        name: String,
    }

    Rule {
        /// Who calls
        from: Vec<From>,
        /// What is called
        to: Vec<To>,
        /// Further conditions, all of which must hold
        when: Vec<Condition>,
    }

    From {
        source: Option<Source>,
    }

    To {
        operation: Option<Operation>,
    }

    Source {
        /// Identities by mutual TLS
        principals: Vec<String>,
        not_principals: Vec<String>,
        /// ISSUER/SUBJECT of a token
        request_principals: Vec<String>,
        not_request_principals: Vec<String>,
        /// Namespaces
        namespaces: Vec<String>,
        not_namespaces: Vec<String>,
        /// Service accounts
        service_accounts: Vec<String>,
        not_service_accounts: Vec<String>,
        /// Addresses of the connection
        ip_blocks: Vec<String>,
        not_ip_blocks: Vec<String>,
        /// Addresses of the client
        remote_ip_blocks: Vec<String>,
        not_remote_ip_blocks: Vec<String>,
        trust_domains: Vec<String>,
        not_trust_domains: Vec<String>,
    }

    Operation {
        /// Hosts
        hosts: Vec<String>,
        not_hosts: Vec<String>,
        /// Ports
        ports: Vec<String>,
        not_ports: Vec<String>,
        /// Methods
        methods: Vec<String>,
        not_methods: Vec<String>,
        /// Paths
        paths: Vec<String>,
        not_paths: Vec<String>,
    }

    #[schemars(extend("required" = ["key"]))]
    Condition {
        /// An attribute of the request
        key: String,
        /// Values of which one must fit
        values: Vec<String>,
        /// Values of which none may fit
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
