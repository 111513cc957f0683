//! `from[].source`: who sends the request.

use std::sync::Arc;

use mesh_api::authz::{AuthzString, Source, Values};

use super::text::{short, strings};
use crate::kinds::findings::Findings;
use crate::kinds::rules::{each, subnets};
use crate::kinds::scope::Scope;
use crate::kinds::wire::wire;
use crate::manifest::path::FieldPath;

wire! {
    WireSource {
        /// Identities of the client by mutual TLS, as TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT, of which one
        /// must match. "*" may stand at the beginning or at the end.
        principals: Vec<String>,
        /// Identities that must not match.
        not_principals: Vec<String>,
        /// Identities of the end user by a validated token, as ISSUER/SUBJECT, of which one must match.
        request_principals: Vec<String>,
        /// Identities of the end user that must not match.
        not_request_principals: Vec<String>,
        /// Namespaces of the client by mutual TLS, of which one must match.
        namespaces: Vec<String>,
        /// Namespaces that must not match.
        not_namespaces: Vec<String>,
        /// Service accounts of the client by mutual TLS, as NAMESPACE/NAME or as NAME of the policy's namespace,
        /// of which one must match. Excludes principals and namespaces.
        service_accounts: Vec<String>,
        /// Service accounts that must not match.
        not_service_accounts: Vec<String>,
        /// Addresses or ranges (CIDR) of the connection's peer, of which one must match.
        ip_blocks: Vec<String>,
        /// Addresses or ranges of the connection's peer that must not match.
        not_ip_blocks: Vec<String>,
        /// Addresses or ranges of the original client, as X-Forwarded-For or the PROXY protocol give it, of which
        /// one must match.
        remote_ip_blocks: Vec<String>,
        /// Addresses or ranges of the original client that must not match.
        not_remote_ip_blocks: Vec<String>,
        /// Not supported yet: trust domains of the client.
        trust_domains: Vec<String>,
        /// Not supported yet: trust domains that must not match.
        not_trust_domains: Vec<String>,
    }
}

/// `NAMESPACE/NAME`.
type ServiceAccount = (Arc<str>, Arc<str>);

pub(super) fn read(
    wire: &WireSource,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<Source> {
    let principals = Values {
        any: strings(&wire.principals, &path.field("principals"), findings),
        none: strings(&wire.not_principals, &path.field("notPrincipals"), findings),
    };
    let at = path.field("requestPrincipals");
    let not_at = path.field("notRequestPrincipals");
    let request_principals = Values {
        any: strings(&wire.request_principals, &at, findings),
        none: strings(&wire.not_request_principals, &not_at, findings),
    };
    let namespaces = Values {
        any: namespaces(&wire.namespaces, &path.field("namespaces"), findings),
        none: namespaces(&wire.not_namespaces, &path.field("notNamespaces"), findings),
    };
    let service_accounts = service_accounts(wire, path, scope, findings);
    let ip_blocks = ranges(
        [
            ("ipBlocks", &wire.ip_blocks),
            ("notIpBlocks", &wire.not_ip_blocks),
        ],
        path,
        findings,
    );
    let remote_ip_blocks = ranges(
        [
            ("remoteIpBlocks", &wire.remote_ip_blocks),
            ("notRemoteIpBlocks", &wire.not_remote_ip_blocks),
        ],
        path,
        findings,
    );
    for (field, values) in [
        ("trustDomains", &wire.trust_domains),
        ("notTrustDomains", &wire.not_trust_domains),
    ] {
        if !values.is_empty() {
            let message = "matching by trust domain is not supported yet";
            findings.refuse_unsupported(&path.field(field), message);
        }
    }
    Some(Source {
        principals,
        request_principals,
        namespaces,
        service_accounts: service_accounts?,
        ip_blocks: ip_blocks?,
        remote_ip_blocks: remote_ip_blocks?,
    })
}

fn namespaces(
    values: &[String],
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Vec<AuthzString> {
    let strings = strings(values, path, findings);
    for (index, value) in values.iter().enumerate() {
        short(value, &path.index(index), findings);
    }
    strings
}

fn service_accounts(
    wire: &WireSource,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<Values<ServiceAccount>> {
    let mut read = |field, texts: &[String]| {
        each(texts, &path.field(field), findings, |text, at, findings| {
            service_account(text, at, scope, findings)
        })
    };
    let any = read("serviceAccounts", &wire.service_accounts);
    let none = read("notServiceAccounts", &wire.not_service_accounts);
    let by_account = !wire.service_accounts.is_empty() || !wire.not_service_accounts.is_empty();
    let by_other = [
        &wire.principals,
        &wire.not_principals,
        &wire.namespaces,
        &wire.not_namespaces,
    ];
    if by_account && by_other.iter().any(|values| !values.is_empty()) {
        findings.error(path, "service accounts exclude principals and namespaces");
    }
    Some(Values {
        any: any?,
        none: none?,
    })
}

/// `NAMESPACE/NAME`, or a name of the policy's own namespace.
fn service_account(
    text: &str,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<ServiceAccount> {
    let (namespace, name) = match text.split_once('/') {
        Some((namespace, name)) => (Arc::from(namespace), name),
        None => (scope.meta.key.namespace.clone(), text),
    };
    let legal = |part: &str| !part.is_empty() && !part.contains(['*', '/']);
    let has_namespace = text.contains('/');
    if !legal(name) || has_namespace && !legal(&namespace) {
        findings
            .error(path, format!("\"{text}\" is not a service account"))
            .suggest("write NAMESPACE/NAME or NAME, without wildcards");
        return None;
    }
    Some((namespace, name.into()))
}

fn ranges(
    [any, none]: [(&str, &[String]); 2],
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Values<ipnet::IpNet>> {
    let any = subnets(any.1, &path.field(any.0), findings);
    let none = subnets(none.1, &path.field(none.0), findings);
    Some(Values {
        any: any?,
        none: none?,
    })
}
