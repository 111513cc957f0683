//! `PeerAuthentication`, security.istio.io.

use std::collections::BTreeMap;

use super::definition::constraint::rule;
use super::{LabelSelector, wire};
use crate::decode::jsonpb::wire_enum;

wire! {
    #[schemars(extend("x-kubernetes-validations" = [rule(
        "!has(self.portLevelMtls) || (has(self.selector) && has(self.selector.matchLabels))",
        "portLevelMtls needs a selector",
    )]))]
    PeerAuthentication {
        /// The pods that this is for; all of the namespace without it
        selector: Option<LabelSelector>,
        /// Whether mutual TLS is required
        mtls: Option<MutualTls>,
        /// The same by port of the workload
        port_level_mtls: BTreeMap<u32, MutualTls>,
    }

    MutualTls {
        /// Whether mutual TLS is required
        mode: MtlsMode,
    }
}

wire_enum!(
    MtlsMode {
        #[default]
        Unset = "UNSET" / 0,
        Disable = "DISABLE" / 1,
        Permissive = "PERMISSIVE" / 2,
        Strict = "STRICT" / 3,
    }
);
