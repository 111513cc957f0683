//! `to[].operation`: what the request asks for.

use mesh_api::authz::{AuthzPath, Operation, Values};

use super::text::{port, short, string, strings};
use crate::kinds::findings::Findings;
use crate::kinds::rules::each;
use crate::kinds::wire::wire;
use crate::manifest::path::FieldPath;

wire! {
    WireOperation {
        /// Hosts (Host header, :authority), of which one must match, without regard to case. "*" may stand at the
        /// beginning or at the end.
        hosts: Vec<String>,
        /// Hosts that must not match.
        not_hosts: Vec<String>,
        /// Ports of the workload, of which one must match.
        ports: Vec<String>,
        /// Ports that must not match.
        not_ports: Vec<String>,
        /// HTTP methods, of which one must match.
        methods: Vec<String>,
        /// HTTP methods that must not match.
        not_methods: Vec<String>,
        /// Paths without query, of which one must match. "*" may stand at the beginning or at the end; in a template
        /// "{*}" stands for one segment and a final "{**}" for any number of them.
        paths: Vec<String>,
        /// Paths that must not match.
        not_paths: Vec<String>,
    }
}

pub(super) fn read(
    wire: &WireOperation,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Operation> {
    let hosts = Values {
        any: strings(&wire.hosts, &path.field("hosts"), findings),
        none: strings(&wire.not_hosts, &path.field("notHosts"), findings),
    };
    let methods = Values {
        any: strings(&wire.methods, &path.field("methods"), findings),
        none: strings(&wire.not_methods, &path.field("notMethods"), findings),
    };
    let mut ports = |field, texts: &[String]| {
        each(texts, &path.field(field), findings, |text, at, findings| {
            port(text, at, findings)
        })
    };
    let any_port = ports("ports", &wire.ports);
    let no_port = ports("notPorts", &wire.not_ports);
    let mut paths = |field, texts: &[String]| {
        each(texts, &path.field(field), findings, |text, at, findings| {
            request_path(text, at, findings)
        })
    };
    let any_path = paths("paths", &wire.paths);
    let no_path = paths("notPaths", &wire.not_paths);
    Some(Operation {
        hosts,
        ports: Values {
            any: any_port?,
            none: no_port?,
        },
        methods,
        paths: Values {
            any: any_path?,
            none: no_path?,
        },
    })
}

/// Text with a star at one end, or a template of `{*}` and a final `{**}`.
fn request_path(
    text: &str,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<AuthzPath> {
    if !text.contains(['{', '}']) {
        return Some(AuthzPath::Text(string(text, path, findings)));
    }
    short(text, path, findings);
    let segments: Vec<&str> = text.split('/').skip(1).collect();
    let last = segments.len().saturating_sub(1);
    let legal = text.starts_with('/')
        && segments
            .iter()
            .enumerate()
            .all(|(index, segment)| match *segment {
                "{*}" => true,
                "{**}" => index == last,
                literal => !literal.contains(['{', '}', '*']),
            });
    if !legal {
        findings
            .error(path, format!("\"{text}\" is not a path template"))
            .suggest("{*} stands for one whole segment, {**} for the rest at the end");
        return None;
    }
    Some(AuthzPath::Template(text.into()))
}
