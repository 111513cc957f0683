//! `egress[]`: services that the workload can call.

use mesh_api::sidecar::{EgressHost, EgressListener};

use super::listener::{CaptureMode, bind, port};
use crate::kinds::findings::Findings;
use crate::kinds::rules::{self, each};
use crate::kinds::scope::Scope;
use crate::kinds::wire::{Port, wire};
use crate::manifest::path::FieldPath;

wire! {
    #[schemars(extend("required" = ["hosts"]))]
    WireEgress {
        /// Port that the entry applies to. By default all ports that no other entry names.
        port: Option<Port>,
        /// Not supported yet: IP address that the proxy listens on.
        bind: String,
        /// Not supported yet: how traffic reaches the proxy.
        capture_mode: CaptureMode,
        /// Services that can be called, as NAMESPACE/HOST. The namespace is a name, "." for that of the workload, "*"
        /// for any or "~" for none; the host may begin with "*.", and "*" is any.
        hosts: Vec<String>,
    }
}

pub(super) fn read(
    wire: &WireEgress,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<EgressListener> {
    let number = match &wire.port {
        Some(wire) => port(wire, &path.field("port"), findings).map(Some),
        None => Some(None),
    };
    let bind_path = path.field("bind");
    let bind = bind(&wire.bind, &bind_path, findings);
    if wire.capture_mode != CaptureMode::Default {
        findings.not_supported(&path.field("captureMode"));
    }
    if wire.port.is_none() && !wire.bind.is_empty() {
        findings.error(&bind_path, "bind needs a port");
    }
    let list = path.field("hosts");
    if wire.hosts.is_empty() {
        findings
            .error(&list, "at least one host is required")
            .suggest("write \"./*\" or \"*/*\"");
    }
    let hosts = each(&wire.hosts, &list, findings, |text, at, findings| {
        host(text, at, scope, findings)
    });
    bind?;
    Some(EgressListener {
        port: number?,
        hosts: hosts?.into_iter().flatten().collect(),
    })
}

/// `NAMESPACE/HOST`; nothing for hosts of the namespace `~`, which stands for none.
fn host(
    text: &str,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<Option<EgressHost>> {
    let Some((namespace, host)) = text.split_once('/') else {
        findings
            .error(path, format!("\"{text}\" has no namespace"))
            .suggest(format!("write \"*/{text}\" or \"NAMESPACE/{text}\""));
        return None;
    };
    if namespace.len() > 1 && namespace.starts_with('~') {
        let message = "excluding hosts of a namespace is not supported yet";
        findings.refuse_unsupported(path, message);
    } else if !matches!(namespace, "*" | "." | "~") && !rules::is_dns_label(namespace) {
        let message = format!("\"{namespace}\" is not a namespace, \"*\", \".\" or \"~\"");
        findings.error(path, message);
    }
    let host = rules::host(host, path, findings)?;
    let namespace = match namespace {
        "~" => return Some(None),
        "*" => None,
        "." => Some(scope.meta.key.namespace.clone()),
        name => Some(name.into()),
    };
    Some(Some(EgressHost { namespace, host }))
}
