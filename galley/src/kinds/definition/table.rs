//! The kinds whose wire structs are in `crd`.

use super::{Column, Definition, NETWORKING, NETWORKING_VERSIONS, schema};
use crate::crd::{
    destination_rule::DestinationRule, gateway::Gateway, sidecar::Sidecar,
    virtual_service::VirtualService,
};

const AGE: Column = Column::AGE;

const fn text(name: &'static str, path: &'static str, description: &'static str) -> Column {
    Column::text(name, path, description)
}

const PLAIN: Definition = Definition {
    group: NETWORKING,
    kind: "",
    plural: "",
    short_names: &[],
    versions: NETWORKING_VERSIONS,
    columns: &[AGE],
    spec: None,
    spec_required: false,
};

pub(super) const DEFINITIONS: &[Definition] = &[
    Definition {
        kind: "DestinationRule",
        plural: "destinationrules",
        short_names: &["dr"],
        columns: &[
            text("Host", ".spec.host", "The service that the rule is for"),
            AGE,
        ],
        spec: Some(schema::of::<DestinationRule>),
        ..PLAIN
    },
    Definition {
        kind: "Gateway",
        plural: "gateways",
        short_names: &["gw"],
        spec: Some(schema::of::<Gateway>),
        ..PLAIN
    },
    Definition {
        kind: "Sidecar",
        plural: "sidecars",
        spec: Some(schema::of::<Sidecar>),
        ..PLAIN
    },
    Definition {
        kind: "VirtualService",
        plural: "virtualservices",
        short_names: &["vs"],
        columns: &[
            text(
                "Gateways",
                ".spec.gateways",
                "The gateways and sidecars that apply the routes",
            ),
            text("Hosts", ".spec.hosts", "The names that the routes are for"),
            AGE,
        ],
        spec: Some(schema::of::<VirtualService>),
        ..PLAIN
    },
];
