//! `TCPRoute`.

use std::sync::Arc;

use serde_json::Value as Json;

use super::l4_route::{self, L4RouteObject, WireL4Rule};
use super::reference::{GROUP, ObjectRef};
use crate::kinds::descriptor::Descriptor;
use crate::kinds::findings::Findings;
use crate::kinds::read::Read;
use crate::kinds::scope::Scope;
use crate::kinds::wire::wire;

wire! {
    TcpRouteSpec {
        parent_refs: Vec<ObjectRef>,
        rules: Vec<WireL4Rule>,
        use_default_gateways: Option<Json>,
    }
}

impl Read for TcpRouteSpec {
    const KIND: Descriptor = Descriptor::custom(GROUP, "TCPRoute", &["v1", "v1alpha2"]);

    type Model = Arc<L4RouteObject>;

    fn read(&self, scope: &Scope<'_>, findings: &mut Findings<'_>) -> Option<Arc<L4RouteObject>> {
        let route = l4_route::read(&self.parent_refs, &[], &self.rules, scope, findings);
        route.map(Arc::new)
    }

    #[cfg(any(test, feature = "test-util"))]
    fn sample() -> serde_json::Value {
        serde_json::json!({"rules": [{"backendRefs": [{"name": "a", "port": 80}]}]})
    }
}
