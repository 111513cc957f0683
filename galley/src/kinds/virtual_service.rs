//! `VirtualService`, networking.istio.io. Source: Istio `validation.ValidateVirtualService`.

mod cors;
mod destination;
mod fault;
mod gateway_ref;
mod headers;
mod http;
mod http_match;
mod l4;
mod redirect;
mod retry;
mod string_match;

use std::net::IpAddr;
use std::sync::Arc;

use mesh_api::hostname::{Hostname, HostnameSet};
use mesh_api::route::{GatewayRef, VirtualService};

pub(super) use self::destination::WireDestination;
use self::gateway_ref::gateways;
use self::http::WireHttpRoute;
use self::l4::{WireTcpRoute, WireTlsRoute};
pub(super) use self::retry::{WireRetry, read as retries};
use super::definition::{Column, Definition};
use super::descriptor::Descriptor;
use super::findings::Findings;
use super::read::Read;
use super::rules::{self, each};
use super::scope::Scope;
use super::wire::wire;
use crate::manifest::path::FieldPath;

wire! {
    VirtualServiceSpec {
        /// Hosts that the routes apply to. A short name is a service of the same namespace; a name may begin with
        /// "*.". Without hosts the VirtualService is a delegate, whose routes others use.
        hosts: Vec<String>,
        /// Gateways that apply the routes, as NAME or NAMESPACE/NAME; "mesh" is all sidecars. By default "mesh".
        gateways: Vec<String>,
        /// Routes of HTTP requests. The first one that matches applies.
        http: Vec<WireHttpRoute>,
        /// Routes of TLS connections that are forwarded without ending TLS, by server name (SNI). The first one that
        /// matches applies.
        tls: Vec<WireTlsRoute>,
        /// Routes of TCP connections. The first one that matches applies.
        tcp: Vec<WireTcpRoute>,
        /// Namespaces whose sidecars and gateways apply the routes: "." is its own, "*" is all, "~" is none. By
        /// default meshConfig.defaultVirtualServiceExportTo.
        export_to: Vec<String>,
    }
}

impl Read for VirtualServiceSpec {
    const KIND: Descriptor = Descriptor::defined(Definition {
        short_names: &["vs"],
        columns: &[
            Column::text(
                "Gateways",
                ".spec.gateways",
                "The gateways and sidecars that apply the routes",
            ),
            Column::text("Hosts", ".spec.hosts", "The names that the routes are for"),
            Column::AGE,
        ],
        ..Definition::networking::<Self>("VirtualService", "virtualservices")
    });

    type Model = Arc<VirtualService>;

    fn read(&self, scope: &Scope<'_>, findings: &mut Findings<'_>) -> Option<Arc<VirtualService>> {
        let root = FieldPath::ROOT;
        let path = root.field("spec");
        let gateways = gateways(&self.gateways, &path.field("gateways"), scope, findings);
        let (hosts, legal) = hosts(self, &path, scope, findings);
        let export_to = path.field("exportTo");
        rules::export_to(&self.export_to, scope.meta, &export_to, findings);
        if self.http.is_empty() && self.tls.is_empty() && self.tcp.is_empty() {
            findings
                .error(&path, "http, tcp or tls must be provided")
                .suggest(
                    "add at least one rule, for example http: [{route: [{destination: {host: NAME}}]}]",
                );
        }
        let list = path.field("http");
        let in_delegate = self.hosts.is_empty();
        let http = each(&self.http, &list, findings, |route, at, findings| {
            http::read(route, in_delegate, at, scope, findings)
        });
        unreachable_routes(&self.http, &list, findings);
        let tls = each(
            &self.tls,
            &path.field("tls"),
            findings,
            |route, at, findings| l4::tls_route(route, &legal, at, scope, findings),
        );
        let tcp = each(
            &self.tcp,
            &path.field("tcp"),
            findings,
            |route, at, findings| l4::tcp_route(route, at, scope, findings),
        );
        // Whoever reads asks for the end of the budget when all is done.
        let _ = findings.budget().spend(legal.compared());
        let default = &scope.mesh.default_virtual_service_export_to;
        Some(Arc::new(VirtualService {
            meta: scope.meta.clone(),
            hosts: hosts?,
            gateways: match self.gateways.is_empty() {
                true => vec![GatewayRef::Mesh],
                false => gateways?,
            },
            visibility: scope.visibility(&self.export_to, default),
            http: http?,
            tls: tls?,
            tcp: tcp?,
        }))
    }

    #[cfg(any(test, feature = "test-util"))]
    fn sample() -> serde_json::Value {
        serde_json::json!({
            "hosts": ["a.example.com"],
            "http": [{"route": [{"destination": {"host": "a"}}]}],
            "tls": [{
                "match": [{"sniHosts": ["a.example.com"]}],
                "route": [{"destination": {"host": "a"}}],
            }],
            "tcp": [{"route": [{"destination": {"host": "a"}}]}],
        })
    }
}

/// The hosts, and those that are legal as they are written.
fn hosts(
    spec: &VirtualServiceSpec,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> (Option<Vec<Hostname>>, HostnameSet) {
    let applies_to_mesh =
        spec.gateways.is_empty() || spec.gateways.iter().any(|gateway| gateway == "mesh");
    let path = path.field("hosts");
    if spec.hosts.is_empty()
        && !(spec.gateways.is_empty() && spec.tls.is_empty() && spec.tcp.is_empty())
    {
        findings
            .error(
                &path,
                "a virtual service without hosts is a delegate, and may have http rules only",
            )
            .suggest("add the hosts that the rules are for");
    }
    let mut seen = HostnameSet::default();
    let hosts = each(&spec.hosts, &path, findings, |text, at, findings| {
        if text.parse::<IpAddr>().is_ok() && applies_to_mesh {
            let message = format!("address \"{text}\" is allowed only for gateways");
            findings
                .error(at, message)
                .suggest("name the service, or bind the rules to a gateway");
            return None;
        }
        let host = rules::host(text, at, findings)?;
        if host.is_any() && applies_to_mesh {
            findings
                .error(
                    at,
                    "wildcard host \"*\" is not allowed for the mesh gateway",
                )
                .suggest("name the host, or bind the rules to a gateway with \"gateways\"");
        }
        if !seen.insert(&host) {
            findings.error(at, format!("duplicate host \"{host}\""));
        }
        scope.full_name(text, host, at, findings)
    });
    (hosts, seen)
}

/// Rules behind one that matches everything are never used.
fn unreachable_routes(routes: &[WireHttpRoute], path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let catch_all = routes.iter().position(|route| route.r#match.is_empty());
    let Some(catch_all) = catch_all else {
        return;
    };
    for index in catch_all + 1..routes.len() {
        let message = format!("never used: http[{catch_all}] before it matches everything");
        findings.unreachable(&path.index(index), message);
    }
}
