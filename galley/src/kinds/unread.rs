//! Kinds that a cluster gets so that their objects can be applied, and that are not read.

use super::definition::{Column, Definition, NETWORKING, NETWORKING_VERSIONS};

const EXTENSIONS: &str = "extensions.istio.io";

/// A kind with nothing special about it.
const PLAIN: Definition = Definition {
    group: NETWORKING,
    kind: "",
    plural: "",
    short_names: &[],
    versions: NETWORKING_VERSIONS,
    columns: &[Column::AGE],
    spec: None,
    spec_required: false,
};

/// The kinds, in the order of their groups.
pub(super) const DEFINITIONS: &[Definition] = &[
    Definition {
        kind: "EnvoyFilter",
        plural: "envoyfilters",
        versions: &["v1alpha3"],
        ..PLAIN
    },
    Definition {
        kind: "ProxyConfig",
        plural: "proxyconfigs",
        versions: &["v1beta1"],
        ..PLAIN
    },
    Definition {
        kind: "WorkloadGroup",
        plural: "workloadgroups",
        short_names: &["wg"],
        spec_required: true,
        ..PLAIN
    },
    Definition {
        group: EXTENSIONS,
        kind: "TrafficExtension",
        plural: "trafficextensions",
        versions: &["v1alpha1"],
        spec_required: true,
        ..PLAIN
    },
    Definition {
        group: EXTENSIONS,
        kind: "WasmPlugin",
        plural: "wasmplugins",
        versions: &["v1alpha1"],
        spec_required: true,
        ..PLAIN
    },
];
