//! Whether a pod is captured. The order is that of Istio's plugin.

use k8s_openapi::api::core::v1::{Container, Pod};
use redirect::Capture;

use crate::capture::{self, AnnotationError, INTERCEPTION_MODE};

/// The annotation by which the injector says what it added.
pub const STATUS: &str = "sidecar.istio.io/status";

/// Label and annotation of a pod's own choice; the label wins.
const INJECT: &str = "sidecar.istio.io/inject";

const INIT_CONTAINER: &str = "istio-init";
const PROXY_CONTAINER: &str = "istio-proxy";

/// What is done with a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It gets rules.
    Capture(Box<Capture>),
    /// It gets none, and why.
    Skip(&'static str),
}

/// Decides about `pod`.
///
/// # Errors
/// When it is to be captured in a way that cannot be understood; it must not start then.
pub fn decide(pod: &Pod) -> Result<Decision, AnnotationError> {
    let proxy = match proxy_to_serve(pod) {
        Ok(proxy) => proxy,
        Err(reason) => return Ok(Decision::Skip(reason)),
    };
    Ok(Decision::Capture(Box::new(capture::of(pod, proxy)?)))
}

/// The proxy that traffic is to go to, or why there is none.
fn proxy_to_serve(pod: &Pod) -> Result<&Container, &'static str> {
    if pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true) {
        return Err("it uses the node's network");
    }
    if container(pod, INIT_CONTAINER).is_some() {
        return Err("its init container istio-init sets up capture");
    }
    let proxy = container(pod, PROXY_CONTAINER).ok_or("it has no container istio-proxy")?;
    if role(proxy).is_some_and(|role| role != "sidecar") {
        return Err("its proxy is a gateway");
    }
    if declines(pod) {
        return Err("it declines injection");
    }
    let annotation = |name: &str| {
        let annotations = pod.metadata.annotations.as_ref();
        annotations.and_then(|annotations| annotations.get(name))
    };
    if annotation(STATUS).is_none() {
        return Err("it is not injected");
    }
    if annotation(INTERCEPTION_MODE).is_some_and(|mode| mode == "NONE") {
        return Err("its interception mode is NONE");
    }
    Ok(proxy)
}

/// Ordinary containers first: an init container of that name is a native sidecar.
fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    let init = spec.init_containers.iter().flatten();
    let mut all = spec.containers.iter().chain(init);
    all.find(|container| container.name == name)
}

/// The proxy's subcommand; Istio's stands behind the word "proxy".
fn role(proxy: &Container) -> Option<&str> {
    let args = proxy.args.iter().flatten().map(String::as_str);
    args.into_iter().find(|arg| *arg != "proxy")
}

fn declines(pod: &Pod) -> bool {
    let label = pod
        .metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get(INJECT));
    let annotations = pod.metadata.annotations.as_ref();
    let choice = label.or(annotations.and_then(|annotations| annotations.get(INJECT)));
    // The spellings that Go's `strconv.ParseBool` accepts.
    choice.is_some_and(|choice| {
        matches!(
            choice.as_str(),
            "0" | "f" | "F" | "false" | "FALSE" | "False"
        )
    })
}

#[cfg(test)]
mod tests;
