//! The Ingress. Source: Istio `ingress.ConvertIngressVirtualService`.
//!
//! What a rule means depends on classes, Services and the other Ingresses, so this
//! is only the object with its fields checked; the snapshot makes a Gateway and
//! routes from all of them together.

use std::sync::Arc;

use k8s_openapi::api::networking::v1 as wire;
use mesh_api::hostname::Hostname;
use mesh_api::resource::Meta;
use mesh_api::route::matcher::StringMatch;

use super::{Fault, Scope, some};
use crate::manifest::path::FieldPath;

/// The controller that IngressClasses of this mesh name.
const CONTROLLER: &str = "istio.io/ingress-controller";

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

/// Whether a class is for this mesh.
pub(super) fn is_ours(class: &wire::IngressClass) -> bool {
    let spec = class.spec.as_ref();
    spec.and_then(|spec| spec.controller.as_deref()) == Some(CONTROLLER)
}

pub(super) fn normalize(ingress: &wire::Ingress, scope: &Scope<'_>) -> Result<Ingress, Fault> {
    let root = FieldPath::ROOT;
    let path = root.field("spec");
    let default = wire::IngressSpec::default();
    let spec = ingress.spec.as_ref().unwrap_or(&default);
    let rules = path.field("rules");
    let list = spec.rules.iter().flatten().enumerate();
    let tls = path.field("tls");
    let secrets = spec.tls.iter().flatten().enumerate();
    Ok(Ingress {
        meta: scope.meta.clone(),
        annotated_class: scope.meta.annotations.get(CLASS).map(Arc::from),
        class: spec.ingress_class_name.as_deref().and_then(some),
        rules: list
            .map(|(index, one)| rule(one, &rules.index(index), scope))
            .collect::<Result<_, _>>()?,
        default_backend: spec
            .default_backend
            .as_ref()
            .map(|one| backend(one, &path.field("defaultBackend"), scope))
            .transpose()?,
        tls: secrets
            .filter_map(|(index, one)| certificate(one, &tls.index(index), scope).transpose())
            .collect::<Result<_, _>>()?,
    })
}

fn rule(
    rule: &wire::IngressRule,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<IngressRule, Fault> {
    let http = path.field("http");
    let list = http.field("paths");
    let paths = rule.http.iter().flat_map(|http| &http.paths).enumerate();
    Ok(IngressRule {
        host: host(rule.host.as_deref(), &path.field("host"), scope)?,
        paths: paths
            .map(|(index, one)| http_path(one, &list.index(index), scope))
            .collect::<Result<_, _>>()?,
    })
}

fn host(text: Option<&str>, path: &FieldPath<'_>, scope: &Scope<'_>) -> Result<Hostname, Fault> {
    match text {
        None | Some("") => Ok(Hostname::any()),
        Some(text) => text.parse().map_err(|error| scope.fault(path, error)),
    }
}

fn http_path(
    one: &wire::HTTPIngressPath,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<IngressPath, Fault> {
    let text = one.path.as_deref().unwrap_or_default();
    let (text, matches) = match one.path_type.as_str() {
        "Exact" => (text, vec![StringMatch::Exact(text.into())]),
        "Prefix" => prefix(text),
        "ImplementationSpecific" => implementation_specific(text),
        other => {
            let message = format!("\"{other}\" is not a path type");
            return Err(scope.fault(&path.field("pathType"), message));
        }
    };
    Ok(IngressPath {
        path: text.into(),
        matches,
        backend: backend(&one.backend, &path.field("backend"), scope)?,
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
    backend: &wire::IngressBackend,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<IngressBackend, Fault> {
    let service_path = path.field("service");
    let service = backend
        .service
        .as_ref()
        .ok_or_else(|| scope.fault(path, "only backends that are Services are supported"))?;
    let port_path = service_path.field("port");
    let port = service.port.as_ref();
    let name = port.and_then(|port| port.name.as_deref()).and_then(some);
    let number = port.and_then(|port| port.number);
    let port = match (name, number) {
        (Some(name), _) => IngressPort::Name(name),
        (None, Some(number)) => {
            let number = u32::try_from(number).unwrap_or_default();
            IngressPort::Number(scope.port(number, &port_path.field("number"))?)
        }
        (None, None) => return Err(scope.fault(&port_path, "a port is required")),
    };
    Ok(IngressBackend {
        service: service.name.as_str().into(),
        port,
    })
}

/// Hosts without a Secret say nothing that the gateway could serve.
fn certificate(
    tls: &wire::IngressTLS,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<Option<IngressTls>, Fault> {
    let Some(secret) = tls.secret_name.as_deref().and_then(some) else {
        return Ok(None);
    };
    let list = path.field("hosts");
    let named = tls.hosts.iter().flatten().enumerate();
    let mut hosts: Vec<Hostname> = named
        .map(|(index, text)| host(Some(text), &list.index(index), scope))
        .collect::<Result<_, _>>()?;
    if hosts.is_empty() {
        hosts.push(Hostname::any());
    }
    Ok(Some(IngressTls { hosts, secret }))
}
