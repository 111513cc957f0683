//! `ServiceEntry` and `WorkloadEntry`, networking.istio.io.

use std::collections::BTreeMap;

use super::{Port, WorkloadSelector, wire};
use crate::decode::jsonpb::wire_enum;

wire! {
    ServiceEntry {
        hosts: Vec<String>,
        addresses: Vec<String>,
        ports: Vec<Port>,
        location: Location,
        resolution: Resolution,
        endpoints: Vec<WorkloadEntry>,
        workload_selector: Option<WorkloadSelector>,
        export_to: Vec<String>,
        subject_alt_names: Vec<String>,
    }

    WorkloadEntry {
        address: String,
        ports: BTreeMap<String, u32>,
        labels: BTreeMap<String, String>,
        network: String,
        locality: String,
        weight: u32,
        service_account: String,
    }
}

wire_enum!(
    Location {
        #[default]
        MeshExternal = "MESH_EXTERNAL" / 0,
        MeshInternal = "MESH_INTERNAL" / 1,
    }
);

wire_enum!(
    Resolution {
        #[default]
        None = "NONE" / 0,
        Static = "STATIC" / 1,
        Dns = "DNS" / 2,
        DnsRoundRobin = "DNS_ROUND_ROBIN" / 3,
        DynamicDns = "DYNAMIC_DNS" / 4,
    }
);
