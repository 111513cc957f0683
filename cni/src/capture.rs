//! From an injected pod to the parameters of its capture: the annotations of its author, over which the injector
//! has written the operator's defaults, and the user of its proxy.
//!
//! They mean what the arguments of the init container mean; one that this cannot honour is an error here as there.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, Pod};
use redirect::capture::PROXY_PORTS;
use redirect::{Capture, CaptureError, InboundMode, Ports, Ranges};
use thiserror::Error;

/// An annotation that rules cannot be made of.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("annotation \"{name}\"")]
pub struct AnnotationError {
    name: String,
    #[source]
    source: CaptureError,
}

/// The annotation that chooses how inbound connections reach the proxy.
pub const INTERCEPTION_MODE: &str = "sidecar.istio.io/interceptionMode";

/// The parameters for `pod` with its container `proxy`.
pub fn of(pod: &Pod, proxy: &Container) -> Result<Capture, AnnotationError> {
    let annotations = Annotations(pod.metadata.annotations.as_ref());
    let defaults = Capture::default();
    let mut exclude_inbound_ports = annotations.ports("excludeInboundPorts")?;
    exclude_inbound_ports.extend(PROXY_PORTS);
    let context = proxy.security_context.as_ref();
    let id = |found: Option<i64>, default: &[u32]| match found.and_then(|id| u32::try_from(id).ok())
    {
        // Root's traffic cannot be exempt: it would be everybody's.
        None | Some(0) => default.to_vec(),
        Some(id) => vec![id],
    };
    let capture = Capture {
        proxy_uids: id(
            context.and_then(|context| context.run_as_user),
            &defaults.proxy_uids,
        ),
        proxy_gids: id(
            context.and_then(|context| context.run_as_group),
            &defaults.proxy_gids,
        ),
        inbound_mode: annotations
            .parse::<InboundMode>(INTERCEPTION_MODE)?
            .unwrap_or(defaults.inbound_mode),
        include_ranges: annotations
            .traffic("includeOutboundIPRanges")?
            .unwrap_or(defaults.include_ranges),
        exclude_ranges: annotations.excluded_ranges()?,
        include_inbound_ports: annotations
            .traffic("includeInboundPorts")?
            .unwrap_or(defaults.include_inbound_ports),
        exclude_inbound_ports,
        include_outbound_ports: annotations.ports("includeOutboundPorts")?,
        exclude_outbound_ports: annotations.ports("excludeOutboundPorts")?,
        exclude_interfaces: names(annotations.get(&traffic("excludeInterfaces"))),
        reroute_interfaces: names(
            annotations
                .get("istio.io/reroute-virtual-interfaces")
                .or(annotations.get(&traffic("kubevirtInterfaces"))),
        ),
        ..Capture::default()
    };
    Ok(capture)
}

struct Annotations<'a>(Option<&'a BTreeMap<String, String>>);

impl Annotations<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0?.get(name).map(String::as_str)
    }

    fn parse<T: std::str::FromStr<Err = CaptureError>>(
        &self,
        name: &str,
    ) -> Result<Option<T>, AnnotationError> {
        let parsed = self.get(name).map(str::parse).transpose();
        parsed.map_err(|source| error(name, source))
    }

    fn traffic<T: std::str::FromStr<Err = CaptureError>>(
        &self,
        name: &str,
    ) -> Result<Option<T>, AnnotationError> {
        self.parse(&traffic(name))
    }

    /// Ports that must be named one by one.
    fn ports(&self, name: &str) -> Result<BTreeSet<u16>, AnnotationError> {
        match self.traffic(name)? {
            None => Ok(BTreeSet::new()),
            Some(Ports::List(ports)) => Ok(ports),
            Some(Ports::All) => Err(error(&traffic(name), CaptureError::Port("*".into()))),
        }
    }

    fn excluded_ranges(&self) -> Result<Vec<ipnet::IpNet>, AnnotationError> {
        const NAME: &str = "excludeOutboundIPRanges";
        match self.traffic(NAME)? {
            None => Ok(Vec::new()),
            Some(Ranges::List(ranges)) => Ok(ranges),
            Some(Ranges::All) => Err(error(&traffic(NAME), CaptureError::Range("*".into()))),
        }
    }
}

fn traffic(name: &str) -> String {
    format!("traffic.sidecar.istio.io/{name}")
}

fn error(name: &str, source: CaptureError) -> AnnotationError {
    AnnotationError {
        name: name.to_owned(),
        source,
    }
}

fn names(list: Option<&str>) -> Vec<String> {
    let entries = list.unwrap_or_default().split(',').map(str::trim);
    let entries = entries.filter(|entry| !entry.is_empty());
    entries.map(str::to_owned).collect()
}
