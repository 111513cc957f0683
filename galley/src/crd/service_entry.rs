//! `ServiceEntry` and `WorkloadEntry`, networking.istio.io.

use std::collections::BTreeMap;

use super::definition::constraint::rule;
use super::{Port, WorkloadSelector, wire};
use crate::decode::jsonpb::wire_enum;

wire! {
    #[schemars(extend(
        "required" = ["hosts"],
        "x-kubernetes-validations" = [rule(
            "!has(self.workloadSelector) || !has(self.endpoints)",
            "only one of workloadSelector and endpoints is possible",
        )],
    ))]
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

    #[schemars(extend("anyOf" = [{"required": ["address"]}, {"required": ["network"]}]))]
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
