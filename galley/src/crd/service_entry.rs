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
        /// The names of the service
        hosts: Vec<String>,
        /// Its addresses or networks
        addresses: Vec<String>,
        /// Its ports
        ports: Vec<Port>,
        /// Whether it is inside or outside of the mesh
        location: Location,
        /// How the addresses of its endpoints are found
        resolution: Resolution,
        /// Its endpoints
        endpoints: Vec<WorkloadEntry>,
        /// Labels of the pods and WorkloadEntries that are its endpoints
        workload_selector: Option<WorkloadSelector>,
        /// Namespaces that see this, "." for its own, "*" for all
        export_to: Vec<String>,
        /// Names of which the server must have one
        subject_alt_names: Vec<String>,
    }

    #[schemars(extend("anyOf" = [{"required": ["address"]}, {"required": ["network"]}]))]
    WorkloadEntry {
        /// Address, host name or unix socket
        address: String,
        /// Ports by the names of the service
        ports: BTreeMap<String, u32>,
        /// Its labels
        labels: BTreeMap<String, String>,
        /// The network it is in
        network: String,
        /// REGION/ZONE/SUBZONE
        locality: String,
        /// Share of traffic
        weight: u32,
        /// Its service account
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
