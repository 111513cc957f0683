//! What the wire structs of several kinds have in common.
//!
//! A wire struct is a kind as users write it: every field optional, nothing checked beyond its type. Names and types
//! are those of the `istio.io/api` messages. Comments of fields are what `kubectl explain` prints.

use std::collections::BTreeMap;

/// Declares wire structs: camelCase, every field optional; comments of fields are their
/// descriptions in the schema.
macro_rules! wire {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* })*) => {$(
        #[derive(Debug, Clone, Default, PartialEq, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "camelCase", default)]
        $(#[$meta])*
        pub(crate) struct $name {
            $($(#[$field_meta])* pub(crate) $field: $type,)*
        }
    )*};
}
pub(crate) use wire;

wire! {
    // `WorkloadSelector` of the networking kinds.
    WorkloadSelector {
        /// Labels that a workload must have, all of them. Without labels every workload is selected.
        labels: BTreeMap<String, String>,
    }

    // `WorkloadSelector` of the security and telemetry kinds.
    LabelSelector {
        /// Labels that a workload must have, all of them. Without labels every workload is selected.
        match_labels: BTreeMap<String, String>,
    }

    // `PolicyTargetReference`.
    #[schemars(extend("required" = ["kind", "name"]))]
    TargetRef {
        /// API group of the object.
        group: String,
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// Namespace of the object. By default that of the policy.
        namespace: String,
    }

    // `Percent`.
    Percent {
        /// Percentage from 0 to 100, with fractions such as 0.5.
        value: f64,
    }

    // `Port` of Gateway, Sidecar and ServiceEntry.
    Port {
        /// Port number, 1 to 65535.
        number: u32,
        /// Name of the port.
        name: String,
        /// Protocol: HTTP, HTTPS, GRPC, GRPC-WEB, HTTP2, MONGO, TCP or TLS.
        protocol: String,
        /// Port of the endpoints, in a ServiceEntry only. By default the same number.
        target_port: u32,
    }

    // `PortSelector`.
    PortSelector {
        /// Port number, 1 to 65535.
        number: u32,
    }
}
