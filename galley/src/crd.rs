//! Wire structs: Istio's kinds as users write them.
//!
//! Everything is optional here and nothing is checked beyond its type; meaning
//! begins in `validate` and `normalize`. Field names and types are those of the
//! `istio.io/api` messages, whose reference documents them; one file per kind.
//! Kubernetes' own kinds come from `k8s-openapi`.
//!
//! The same structs give the schemas of the definitions that a cluster gets, in
//! `definition`; what a schema says beyond types stands at the structs.

#![allow(
    missing_docs,
    reason = "fields mirror Istio's reference one to one; the model in mesh-api documents their meaning"
)]

pub mod definition;

pub mod authorization_policy;
pub mod destination_rule;
pub mod gateway;
pub mod gateway_api;
pub mod mesh_config;
pub mod peer_authentication;
pub mod request_authentication;
pub mod service_entry;
pub mod sidecar;
pub mod telemetry;
pub mod traffic_policy;
pub mod virtual_service;

use std::collections::BTreeMap;

/// Declares wire structs: camelCase, every field optional; comments of fields are their
/// descriptions in the schema.
macro_rules! wire {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* })*) => {$(
        #[derive(Debug, Clone, Default, PartialEq, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "camelCase", default)]
        $(#[$meta])*
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
        }
    )*};
}
use wire;

wire! {
    // `WorkloadSelector` of the networking kinds.
    WorkloadSelector {
        labels: BTreeMap<String, String>,
    }

    // `WorkloadSelector` of the security and telemetry kinds.
    LabelSelector {
        match_labels: BTreeMap<String, String>,
    }

    // `PolicyTargetReference`.
    #[schemars(extend("required" = ["kind", "name"]))]
    TargetRef {
        group: String,
        kind: String,
        name: String,
        namespace: String,
    }

    // `Percent`.
    Percent {
        value: f64,
    }

    // `Port` of Gateway, Sidecar and ServiceEntry.
    Port {
        number: u32,
        name: String,
        protocol: String,
        target_port: u32,
    }

    // `PortSelector`.
    PortSelector {
        number: u32,
    }
}
