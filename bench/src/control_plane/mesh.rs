//! The synthetic mesh, as objects for the API server: every service with its pods and endpoints, every tenth with two
//! subsets and a route that divides between them.

use serde_json::{Value, json};

use super::args::{Pods, Size};

/// Where all of it is.
pub(super) const NAMESPACE: &str = "shop";
const NETWORKING: &str = "/apis/networking.istio.io/v1/namespaces/shop";
/// One service in so many has subsets and a route.
const ROUTED_EVERY: u32 = 10;

/// An object, and the collection that it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Object {
    /// The collection's path.
    pub(super) collection: String,
    /// The object.
    pub(super) body: Value,
}

/// A pod, which a simulated sidecar can stand beside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pod {
    /// Its service, by number.
    pub(super) service: u32,
    /// Its place among the service's endpoints.
    pub(super) place: u32,
    /// Its address.
    pub(super) ip: String,
}

impl Size {
    /// All objects, in an order in which none comes before what it refers to.
    pub(super) fn objects(self) -> impl Iterator<Item = Object> {
        (0..self.services).flat_map(move |number| self.objects_of(number))
    }

    fn objects_of(self, number: u32) -> Vec<Object> {
        let core = |kind: &str| format!("/api/v1/namespaces/{NAMESPACE}/{kind}");
        let pods = (0..self.endpoints).map(|place| self.pod(number, place));
        let pods = pods.filter(|pod| self.exists(pod));
        let mut objects: Vec<_> = pods.map(|pod| object(core("pods"), pod.object())).collect();
        objects.push(object(core("services"), service(number)));
        objects.push(object(slices(), self.slice(number, None)));
        if number.is_multiple_of(ROUTED_EVERY) {
            let kind = |kind| format!("{NETWORKING}/{kind}");
            objects.push(object(kind("destinationrules"), destination_rule(number)));
            objects.push(object(kind("virtualservices"), route(number, "none")));
        }
        objects
    }

    /// The pod at a place of a service.
    pub(super) fn pod(self, service: u32, place: u32) -> Pod {
        let [_, high, middle, low] = (service * self.endpoints + place + 1).to_be_bytes();
        Pod {
            service,
            place,
            ip: format!("10.{}.{middle}.{low}", 64 + high),
        }
    }

    /// The pods that have a simulated sidecar: of every service one, then of every service another one.
    pub(super) fn proxies(self) -> impl Iterator<Item = Pod> {
        let places = (0..self.endpoints)
            .flat_map(move |place| (0..self.services).map(move |service| self.pod(service, place)));
        places.take(self.proxies as usize)
    }

    /// Whether an endpoint is a pod.
    fn exists(self, pod: &Pod) -> bool {
        self.pods == Pods::All || pod.place * self.services + pod.service < self.proxies
    }

    /// The services that have a route.
    pub(super) fn routed(self) -> u32 {
        self.services.div_ceil(ROUTED_EVERY)
    }

    /// A service's endpoints, with another one at `added`.
    fn slice(self, number: u32, added: Option<&str>) -> Value {
        let endpoint = |pod: Pod| {
            let mut endpoint = json!({"addresses": [pod.ip], "conditions": {"ready": true}});
            if self.exists(&pod) {
                endpoint["targetRef"] =
                    json!({"kind": "Pod", "name": pod.name(), "namespace": NAMESPACE});
            }
            endpoint
        };
        let pods = (0..self.endpoints).map(|place| endpoint(self.pod(number, place)));
        let added = added.map(|ip| json!({"addresses": [ip], "conditions": {"ready": true}}));
        json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": name(number),
                "labels": {"kubernetes.io/service-name": name(number)},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": pods.chain(added).collect::<Vec<_>>(),
        })
    }

    /// What adds an endpoint to a service: the object's path and a merge patch. Its address, as it will be sent to
    /// proxies, is `marker`.
    pub(super) fn endpoint_added(self, number: u32, marker: &str) -> (String, Value) {
        let path = format!("{}/{}", slices(), name(number));
        (path, self.slice(number, Some(marker)))
    }

    /// What changes the route of the `index`th service that has one. A header value, as it will be sent to proxies,
    /// is `marker`.
    pub(super) fn route_changed(self, index: u32, marker: &str) -> (String, Value) {
        let number = index * ROUTED_EVERY;
        let path = format!("{NETWORKING}/virtualservices/{}", name(number));
        (path, route(number, marker))
    }
}

impl Pod {
    /// The pod's name.
    pub(super) fn name(&self) -> String {
        format!("{}-{}", name(self.service), self.place)
    }

    /// Its service account.
    pub(super) fn service_account(&self) -> String {
        name(self.service)
    }

    /// Its labels.
    pub(super) fn labels(&self) -> [(&'static str, String); 3] {
        [
            ("app", name(self.service)),
            ("version", format!("v{}", self.place % 2 + 1)),
            ("security.istio.io/tlsMode", "istio".to_owned()),
        ]
    }

    fn object(&self) -> Value {
        let labels: serde_json::Map<_, _> = self
            .labels()
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.into()))
            .collect();
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.name(), "labels": labels},
            "spec": {
                "serviceAccountName": self.service_account(),
                "nodeName": "node",
                "containers": [{"name": "app", "image": "app", "ports": [{"containerPort": 8080}]}],
            },
        })
    }
}

fn object(collection: String, body: Value) -> Object {
    Object { collection, body }
}

fn slices() -> String {
    format!("/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices")
}

fn name(number: u32) -> String {
    format!("service-{number:05}")
}

fn service(number: u32) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name(number)},
        "spec": {
            "selector": {"app": name(number)},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
        },
    })
}

fn destination_rule(number: u32) -> Value {
    let subset = |version| json!({"name": version, "labels": {"version": version}});
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": name(number)},
        "spec": {"host": name(number), "subsets": [subset("v1"), subset("v2")]},
    })
}

fn route(number: u32, marker: &str) -> Value {
    let part = |subset, weight| json!({"destination": {"host": name(number), "subset": subset}, "weight": weight});
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name(number)},
        "spec": {
            "hosts": [name(number)],
            "http": [{
                "headers": {"request": {"set": {"x-bench": marker}}},
                "route": [part("v1", 90), part("v2", 10)],
            }],
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use super::*;

    const SIZE: Size = Size {
        services: 30,
        endpoints: 10,
        proxies: 35,
        pods: Pods::All,
    };

    #[test]
    fn every_tenth_service_has_subsets_and_a_route() {
        let mut counts = BTreeMap::new();
        for object in SIZE.objects() {
            let kind = object.body["kind"].as_str().unwrap().to_owned();
            *counts.entry(kind).or_insert(0) += 1;
        }
        let expected = [
            ("DestinationRule", 3),
            ("EndpointSlice", 30),
            ("Pod", 300),
            ("Service", 30),
            ("VirtualService", 3),
        ];
        let expected = expected.map(|(kind, count)| (kind.to_owned(), count));
        assert_eq!(counts, BTreeMap::from(expected));
        assert_eq!(SIZE.routed(), 3);
    }

    #[test]
    fn pods_and_addresses_are_distinct() {
        let all: HashSet<_> = SIZE
            .objects()
            .map(|o| o.body["metadata"]["name"].to_string())
            .collect();
        assert_eq!(all.len(), 300 + 30);
        let proxies: Vec<_> = SIZE.proxies().collect();
        let ips: HashSet<_> = proxies.iter().map(|pod| &pod.ip).collect();
        assert_eq!((proxies.len(), ips.len()), (35, 35));
        assert_eq!(proxies[30].name(), "service-00000-1");
        assert_eq!(proxies[30].ip, "10.64.0.2");
        let few = Size {
            pods: Pods::Proxies,
            ..SIZE
        };
        let pods = few.objects().filter(|object| object.body["kind"] == "Pod");
        let names: HashSet<_> = pods
            .map(|o| o.body["metadata"]["name"].to_string())
            .collect();
        let expected: HashSet<_> = proxies
            .iter()
            .map(|pod| format!("{:?}", pod.name()))
            .collect();
        assert_eq!(names, expected);
        let large = Size {
            services: 20_000,
            endpoints: 10,
            ..SIZE
        };
        assert_eq!(large.pod(19_999, 9).ip, "10.67.13.64");
    }

    #[test]
    fn changes_carry_their_marker() {
        let (path, body) = SIZE.endpoint_added(7, "10.255.0.1");
        assert!(path.ends_with("/endpointslices/service-00007"), "{path}");
        assert_eq!(body["endpoints"].as_array().unwrap().len(), 11);
        assert_eq!(body["endpoints"][10]["addresses"], json!(["10.255.0.1"]));
        let (path, body) = SIZE.route_changed(2, "change-1");
        assert!(path.ends_with("/virtualservices/service-00020"), "{path}");
        assert!(body.to_string().contains("change-1"));
    }
}
