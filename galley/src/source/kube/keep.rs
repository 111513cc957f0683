//! What is kept of an object: the parts that the model is made from.
//!
//! The rest (status heartbeats, volumes, managed fields) would cost memory, and
//! every change of it would look like a change of the object. Fields of Kubernetes
//! kinds that a newer API server has are left out with it.

use serde_json::{Map, Value};

use crate::kind::Kind;

/// The part of a value that is kept.
#[derive(Debug, Clone, Copy)]
pub(super) enum Keep {
    /// All of it.
    All,
    /// These fields.
    Fields(&'static [(&'static str, Keep)]),
    /// This part of every item.
    Items(&'static Keep),
}

use Keep::{All, Fields, Items};

const CONTAINERS: Keep = Items(&Fields(&[("name", All), ("ports", All)]));

const POD: Keep = Fields(&[
    (
        "spec",
        Fields(&[
            ("serviceAccountName", All),
            ("nodeName", All),
            ("hostNetwork", All),
            ("containers", CONTAINERS),
            ("initContainers", CONTAINERS),
        ]),
    ),
    (
        "status",
        Fields(&[
            ("phase", All),
            ("podIP", All),
            ("podIPs", Items(&Fields(&[("ip", All)]))),
            (
                "conditions",
                Items(&Fields(&[("type", All), ("status", All)])),
            ),
        ]),
    ),
]);

const SERVICE: Keep = Fields(&[
    (
        "spec",
        Fields(&[
            ("type", All),
            ("clusterIP", All),
            ("clusterIPs", All),
            ("externalName", All),
            ("internalTrafficPolicy", All),
            (
                "ports",
                Items(&Fields(&[
                    ("name", All),
                    ("port", All),
                    ("protocol", All),
                    ("appProtocol", All),
                    ("targetPort", All),
                ])),
            ),
            ("publishNotReadyAddresses", All),
            ("selector", All),
            ("trafficDistribution", All),
        ]),
    ),
    ("status", Fields(&[("loadBalancer", All)])),
]);

const SLICE: Keep = Fields(&[
    ("addressType", All),
    (
        "endpoints",
        Items(&Fields(&[
            ("addresses", All),
            (
                "conditions",
                Fields(&[("ready", All), ("serving", All), ("terminating", All)]),
            ),
            ("nodeName", All),
            ("targetRef", Fields(&[("kind", All), ("name", All)])),
            ("zone", All),
        ])),
    ),
    ("ports", Items(&Fields(&[("name", All), ("port", All)]))),
]);

const INGRESS: Keep = Fields(&[(
    "spec",
    Fields(&[
        ("defaultBackend", All),
        ("ingressClassName", All),
        ("rules", All),
        ("tls", All),
    ]),
)]);

const SECRET: Keep = Fields(&[
    ("type", All),
    (
        "data",
        Fields(&[
            ("tls.crt", All),
            ("tls.key", All),
            ("ca.crt", All),
            ("ca.crl", All),
            ("cert", All),
            ("key", All),
            ("cacert", All),
            ("crl", All),
        ]),
    ),
]);

impl Keep {
    /// The rule of a kind, metadata aside.
    pub(super) fn of(kind: Kind) -> Self {
        match kind {
            Kind::Namespace | Kind::Node | Kind::ServiceAccount => Fields(&[]),
            Kind::ConfigMap => Fields(&[("data", Fields(&[("mesh", All)]))]),
            Kind::Secret => SECRET,
            Kind::Pod => POD,
            Kind::Service => SERVICE,
            Kind::EndpointSlice => SLICE,
            Kind::Ingress => INGRESS,
            Kind::IngressClass => Fields(&[("spec", Fields(&[("controller", All)]))]),
            _ => All,
        }
    }

    /// What is kept of `value`.
    pub(super) fn apply(self, value: Value) -> Value {
        match (self, value) {
            (Fields(fields), Value::Object(mut object)) => {
                let kept = fields.iter().filter_map(|(name, keep)| {
                    let value = object.remove(*name)?;
                    Some(((*name).to_owned(), keep.apply(value)))
                });
                Value::Object(kept.collect::<Map<_, _>>())
            }
            (Items(keep), Value::Array(items)) => {
                Value::Array(items.into_iter().map(|item| keep.apply(item)).collect())
            }
            (_, value) => value,
        }
    }
}
