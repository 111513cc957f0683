//! `Ingress`. Source: Istio `ingress.ConvertIngressVirtualService`.
//!
//! What a rule means depends on classes, Services and the other Ingresses, so this
//! is only the object with its fields checked; the snapshot makes a Gateway and
//! routes from all of them together.

use std::sync::Arc;

use k8s_openapi::api::networking::v1 as wire;
use mesh_api::hostname::Hostname;
use mesh_api::resource::Meta;
use mesh_api::route::matcher::StringMatch;

use super::descriptor::Descriptor;
use super::findings::Findings;
use super::read::Read;
use super::rules::{self, each, some};
use super::scope::Scope;
use crate::manifest::path::FieldPath;

/// The annotation that came before `ingressClassName`, and goes before it.
const CLASS: &str = "kubernetes.io/ingress.class";

/// An Ingress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingress {
    /// The object.
    pub meta: Meta,
    /// The class by the annotation.
    pub annotated_class: Option<Arc<str>>,
    /// `ingressClassName`.
    pub class: Option<Arc<str>>,
    /// `rules`.
    pub rules: Vec<IngressRule>,
    /// `defaultBackend`.
    pub default_backend: Option<IngressBackend>,
    /// `tls`.
    pub tls: Vec<IngressTls>,
}

/// One `rules[]` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngressRule {
    /// The host; `*` if it has none.
    pub host: Hostname,
    /// `http.paths`.
    pub paths: Vec<IngressPath>,
}

/// One `http.paths[]` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngressPath {
    /// The path as written, without a prefix's last slash.
    pub path: Arc<str>,
    /// Alternatives that together are the path.
    pub matches: Vec<StringMatch>,
    /// Where to.
    pub backend: IngressBackend,
}

/// A Service of the Ingress's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngressBackend {
    /// Its name.
    pub service: Arc<str>,
    /// Its port.
    pub port: IngressPort,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IngressPort {
    /// By number.
    Number(u16),
    /// By name.
    Name(Arc<str>),
}

/// One `tls[]` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngressTls {
    /// Hosts of the certificate; `*` if none are named.
    pub hosts: Vec<Hostname>,
    /// A Secret of the gateway's namespace.
    pub secret: Arc<str>,
}

impl Read for wire::Ingress {
    const KIND: Descriptor = Descriptor {
        has_status: true,
        ..Descriptor::kubernetes("networking.k8s.io", "Ingress")
    };

    type Model = Arc<Ingress>;

    fn read(&self, scope: &Scope<'_>, findings: &mut Findings<'_>) -> Option<Arc<Ingress>> {
        let root = FieldPath::ROOT;
        let path = root.field("spec");
        let default = wire::IngressSpec::default();
        let spec = self.spec.as_ref().unwrap_or(&default);
        let rules = spec.rules.as_deref().unwrap_or_default();
        let rules = each(rules, &path.field("rules"), findings, rule);
        let default_backend = spec.default_backend.as_ref();
        let default_backend =
            default_backend.map(|wire| backend(wire, &path.field("defaultBackend"), findings));
        let secrets = spec.tls.as_deref().unwrap_or_default();
        let secrets = each(secrets, &path.field("tls"), findings, certificate);
        Some(Arc::new(Ingress {
            meta: scope.meta.clone(),
            annotated_class: scope.meta.annotations.get(CLASS).map(Arc::from),
            class: spec.ingress_class_name.as_deref().and_then(some),
            rules: rules?,
            default_backend: match default_backend {
                Some(backend) => Some(backend?),
                None => None,
            },
            tls: secrets?.into_iter().flatten().collect(),
        }))
    }

    #[cfg(any(test, feature = "test-util"))]
    fn sample() -> serde_json::Value {
        serde_json::json!({
            "spec": {"rules": [{"http": {"paths": [{
                "path": "/",
                "pathType": "Prefix",
                "backend": {"service": {"name": "a", "port": {"number": 80}}},
            }]}}]},
        })
    }
}

fn rule(
    wire: &wire::IngressRule,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<IngressRule> {
    let host = host(wire.host.as_deref(), &path.field("host"), findings);
    let http = path.field("http");
    let paths = wire.http.as_ref().map(|http| http.paths.as_slice());
    let paths = each(
        paths.unwrap_or_default(),
        &http.field("paths"),
        findings,
        http_path,
    );
    Some(IngressRule {
        host: host?,
        paths: paths?,
    })
}

fn host(text: Option<&str>, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> Option<Hostname> {
    match text {
        None | Some("") => Some(Hostname::any()),
        Some(text) => rules::host(text, path, findings),
    }
}

fn http_path(
    wire: &wire::HTTPIngressPath,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<IngressPath> {
    let text = wire.path.as_deref().unwrap_or_default();
    let read = match wire.path_type.as_str() {
        "Exact" => Some((text, vec![StringMatch::Exact(text.into())])),
        "Prefix" => Some(prefix(text)),
        "ImplementationSpecific" => Some(implementation_specific(text)),
        other => {
            let message = format!("\"{other}\" is not a path type");
            findings.error(&path.field("pathType"), message);
            None
        }
    };
    let backend = backend(&wire.backend, &path.field("backend"), findings);
    let (text, matches) = read?;
    Some(IngressPath {
        path: text.into(),
        matches,
        backend: backend?,
    })
}

/// `/a` covers `/a` and `/a/b`, but not `/ab`.
fn prefix(text: &str) -> (&str, Vec<StringMatch>) {
    match text.trim_end_matches('/') {
        "" => ("/", vec![StringMatch::Prefix("/".into())]),
        stem => {
            let below = StringMatch::Prefix(format!("{stem}/").into());
            (stem, vec![StringMatch::Exact(stem.into()), below])
        }
    }
}

/// Istio reads `.*` at the end as any continuation, and the rest as an exact path.
fn implementation_specific(text: &str) -> (&str, Vec<StringMatch>) {
    if text.is_empty() {
        return ("/", vec![StringMatch::Prefix("/".into())]);
    }
    match text.strip_suffix(".*") {
        Some(stem) => (text, vec![StringMatch::Prefix(stem.into())]),
        None => (text, vec![StringMatch::Exact(text.into())]),
    }
}

fn backend(
    wire: &wire::IngressBackend,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<IngressBackend> {
    let Some(service) = &wire.service else {
        findings.error(path, "only backends that are Services are supported");
        return None;
    };
    let service_path = path.field("service");
    let port_path = service_path.field("port");
    let port = service.port.as_ref();
    let name = port.and_then(|port| port.name.as_deref()).and_then(some);
    let number = port.and_then(|port| port.number);
    let port = match (name, number) {
        (Some(name), _) => IngressPort::Name(name),
        (None, Some(number)) => {
            let number = u32::try_from(number).unwrap_or_default();
            let number = rules::port(number, &port_path.field("number"), findings)?;
            IngressPort::Number(number)
        }
        (None, None) => {
            findings.error(&port_path, "a port is required");
            return None;
        }
    };
    Some(IngressBackend {
        service: service.name.as_str().into(),
        port,
    })
}

/// Hosts without a Secret say nothing that the gateway could serve.
fn certificate(
    wire: &wire::IngressTLS,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Option<IngressTls>> {
    let Some(secret) = wire.secret_name.as_deref().and_then(some) else {
        return Some(None);
    };
    let hosts = wire.hosts.as_deref().unwrap_or_default();
    let list = path.field("hosts");
    let mut hosts = each(hosts, &list, findings, |text, at, findings| {
        host(Some(text), at, findings)
    })?;
    if hosts.is_empty() {
        hosts.push(Hostname::any());
    }
    Some(Some(IngressTls { hosts, secret }))
}
