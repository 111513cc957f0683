use super::*;
use crate::manifest::parse;
use crate::store::DocumentKey;
use mesh_api::endpoint::{Endpoint, EndpointAddress};
use mesh_api::mesh_config::MeshConfig;
use mesh_api::snapshot::ServiceKey;

struct Mesh {
    store: Store,
    builder: Builder,
}

impl Mesh {
    fn new(yaml: &str) -> (Self, Arc<Snapshot>) {
        let mut mesh = Self {
            store: Store::new(MeshConfig::default()),
            builder: Builder::default(),
        };
        let first = mesh.apply(yaml).expect("the first snapshot");
        (mesh, first)
    }

    fn apply(&mut self, yaml: &str) -> Option<Arc<Snapshot>> {
        let (documents, faults) = parse("a.yaml", yaml);
        assert_eq!(faults, vec![]);
        for document in documents {
            assert!(
                self.store.apply(Arc::new(document)),
                "{:?}",
                self.store.diagnostics()
            );
        }
        self.build()
    }

    fn build(&mut self) -> Option<Arc<Snapshot>> {
        let changed = self.store.take_changes();
        self.builder.build(&changed, &self.store).snapshot
    }

    fn delete(&mut self, yaml: &str) -> Option<Arc<Snapshot>> {
        for document in parse("a.yaml", yaml).0 {
            self.store.delete(&DocumentKey::of(&document));
        }
        self.build()
    }
}

fn service(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{clusterIP: 10.96.0.1, ports: [{{name: http, port: 80, targetPort: 8080}}]}}\n---\n"
    )
}

fn slice(service: &str, pods: &[(&str, &str)]) -> String {
    let endpoints: Vec<String> = pods
        .iter()
        .map(|(pod, address)| {
            format!(
                "{{addresses: [{address}], nodeName: n1, targetRef: {{kind: Pod, name: {pod}}}}}"
            )
        })
        .collect();
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {service}-1, labels: {{kubernetes.io/service-name: {service}}}}}\naddressType: IPv4\nports: [{{name: http, port: 8080}}]\nendpoints: [{}]\n---\n",
        endpoints.join(", ")
    )
}

fn pod(name: &str, address: &str, account: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: a, version: v1, security.istio.io/tlsMode: istio}}}}\nspec: {{serviceAccountName: {account}, nodeName: n1, containers: []}}\nstatus: {{phase: Running, podIP: {address}, conditions: [{{type: Ready, status: 'True'}}]}}\n---\n"
    )
}

const NODE: &str = "apiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: {topology.kubernetes.io/region: eu, topology.kubernetes.io/zone: a}}\n---\n";

fn key(name: &str) -> ServiceKey {
    ServiceKey {
        hostname: format!("{name}.default.svc.cluster.local").parse().unwrap(),
        namespace: "default".into(),
    }
}

fn addresses(snapshot: &Snapshot, name: &str) -> Vec<String> {
    let endpoints = snapshot.endpoints[&key(name)].port(80);
    endpoints.iter().map(|endpoint| shown(endpoint)).collect()
}

fn shown(endpoint: &Endpoint) -> String {
    match &endpoint.address {
        EndpointAddress::Ip(address) => format!("{address}:{}", endpoint.port),
        EndpointAddress::Name(name) => format!("{name}:{}", endpoint.port),
        EndpointAddress::Unix(path) => path.to_string(),
    }
}

fn accounts(snapshot: &Snapshot, name: &str) -> Vec<String> {
    snapshot.services[&key(name)]
        .service_accounts
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn two_services() -> String {
    [
        service("a"),
        service("b"),
        slice("a", &[("a-1", "10.0.0.1")]),
        slice("b", &[("b-1", "10.0.0.2")]),
        pod("a-1", "10.0.0.1", "sa-a"),
        pod("b-1", "10.0.0.2", "sa-b"),
        NODE.to_owned(),
    ]
    .concat()
}

#[test]
fn endpoints_are_joined_with_their_pods() {
    let (_, snapshot) = Mesh::new(&two_services());
    let endpoint = &snapshot.endpoints[&key("a")].port(80)[0];
    assert_eq!(shown(endpoint), "10.0.0.1:8080");
    assert_eq!(endpoint.locality.to_string(), "eu/a");
    assert_eq!(endpoint.labels.get("version"), Some("v1"));
    assert!(endpoint.mtls_capable);
    assert_eq!(&*endpoint.canonical_name, "a");
    assert_eq!(
        accounts(&snapshot, "a"),
        ["spiffe://cluster.local/ns/default/sa/sa-a"]
    );
    let workload = &snapshot.workloads[&"10.0.0.1".parse().unwrap()];
    assert_eq!((&*workload.name, &*workload.locality.region), ("a-1", "eu"));
}

#[test]
fn an_endpoint_change_touches_its_service_only() {
    let (mut mesh, before) = Mesh::new(&two_services());
    let more = [
        pod("a-2", "10.0.0.3", "sa-a"),
        slice("a", &[("a-2", "10.0.0.3"), ("a-1", "10.0.0.1")]),
    ];
    let after = mesh.apply(&more.concat()).expect("a change");
    assert!(after.changes.endpoints_only());
    assert_eq!(after.changes.endpoints, BTreeSet::from([key("a")]));
    assert_eq!(addresses(&after, "a"), ["10.0.0.1:8080", "10.0.0.3:8080"]);
    assert!(Arc::ptr_eq(
        &before.endpoints[&key("b")],
        &after.endpoints[&key("b")]
    ));
    assert!(Arc::ptr_eq(&before.services, &after.services));
    assert!(Arc::ptr_eq(
        &before.virtual_services,
        &after.virtual_services
    ));
    assert_eq!(after.version, before.version + 1);
}

#[test]
fn other_accounts_change_the_service() {
    let (mut mesh, _) = Mesh::new(&two_services());
    let after = mesh
        .apply(&pod("a-1", "10.0.0.1", "other"))
        .expect("a change");
    assert_eq!(
        accounts(&after, "a"),
        ["spiffe://cluster.local/ns/default/sa/other"]
    );
    let changed: Vec<_> = after
        .changes
        .objects
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(changed, ["Service default/a"]);
}

#[test]
fn what_has_no_effect_makes_no_snapshot() {
    let (mut mesh, _) = Mesh::new(&two_services());
    assert!(mesh.apply(&slice("a", &[("a-1", "10.0.0.1")])).is_none());
    assert!(mesh.apply(&pod("b-1", "10.0.0.2", "sa-b")).is_none());
    assert!(mesh.build().is_none());
}

#[test]
fn removed_objects_leave_nothing_behind() {
    let (mut mesh, _) = Mesh::new(&two_services());
    let without_pod = mesh
        .delete(&pod("a-1", "10.0.0.1", "sa-a"))
        .expect("a change");
    assert!(
        !without_pod
            .workloads
            .contains_key(&"10.0.0.1".parse().unwrap())
    );
    assert_eq!(accounts(&without_pod, "a"), Vec::<String>::new());
    let without_slice = mesh.delete(&slice("a", &[])).expect("a change");
    assert_eq!(addresses(&without_slice, "a"), Vec::<String>::new());
    let without_service = mesh.delete(&service("a")).expect("a change");
    assert!(!without_service.services.contains_key(&key("a")));
    assert!(!without_service.endpoints.contains_key(&key("a")));
    assert!(without_service.changes.endpoints.contains(&key("a")));
}

#[test]
fn an_address_moves_to_a_new_pod() {
    let (mut mesh, _) = Mesh::new(&two_services());
    mesh.apply(&pod("a-2", "10.0.0.1", "sa-a"));
    let after = mesh.delete(&pod("a-1", "10.0.0.1", "sa-a"));
    let after = after.unwrap_or_else(|| Arc::new(mesh.builder.current.clone()));
    assert_eq!(&*after.workloads[&"10.0.0.1".parse().unwrap()].name, "a-2");
}

#[test]
fn nodes_give_localities() {
    let (mut mesh, _) = Mesh::new(&two_services());
    let after = mesh.apply(&NODE.replace("eu", "us")).expect("a change");
    let regions: Vec<_> = ["a", "b"]
        .map(|name| {
            after.endpoints[&key(name)].port(80)[0]
                .locality
                .region
                .to_string()
        })
        .to_vec();
    assert_eq!(regions, ["us", "us"]);
    assert!(
        after
            .workloads
            .values()
            .all(|workload| &*workload.locality.region == "us")
    );
}

#[test]
fn service_entries_select_pods_and_machines() {
    let entry = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: e}\nspec:\n  hosts: [a.default.svc.cluster.local]\n  location: MESH_INTERNAL\n  resolution: STATIC\n  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]\n  workloadSelector: {labels: {app: a}}\n---\n";
    let machine = "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: vm}\nspec: {address: 10.9.0.1, labels: {app: a}, ports: {http: 9999}}\n---\n";
    let all = [
        entry.to_owned(),
        pod("a-1", "10.0.0.1", "sa"),
        machine.to_owned(),
    ]
    .concat();
    let (mut mesh, snapshot) = Mesh::new(&all);
    assert_eq!(
        addresses(&snapshot, "a"),
        ["10.0.0.1:8080", "10.9.0.1:9999"]
    );
    let after = mesh.delete(machine).expect("a change");
    assert_eq!(addresses(&after, "a"), ["10.0.0.1:8080"]);
    // A Kubernetes Service of the same name goes before the entry.
    let after = mesh.apply(&service("a")).expect("a change");
    assert_eq!(addresses(&after, "a"), Vec::<String>::new());
    let after = mesh.delete(&service("a")).expect("a change");
    assert_eq!(addresses(&after, "a"), ["10.0.0.1:8080"]);
}

#[test]
fn ca_certificates_may_stand_in_a_secret_of_their_own() {
    let certificate = include_str!("../../tests/kubernetes/certificate.pem");
    let secret = |name: &str, key: &str, value: &str| {
        let value = serde_json::to_string(value).unwrap();
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{{key}: {value}}}\n---\n"
        )
    };
    let (mut mesh, snapshot) = Mesh::new(&secret("web", "tls.crt", certificate));
    let name = (Arc::from("default"), Arc::from("web"));
    assert_eq!(snapshot.credentials[&name].ca_certificates, None);
    let after = mesh
        .apply(&secret("web-cacert", "ca.crt", "authority"))
        .expect("a change");
    assert_eq!(
        after.credentials[&name].ca_certificates.as_deref(),
        Some(&b"authority"[..])
    );
}

const READER: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: \"system:secrets\", namespace: edge}
rules:
- {apiGroups: [''], resources: [configmaps, secrets], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: secrets, namespace: edge}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: \"system:secrets\"}
subjects:
- {kind: ServiceAccount, name: gateway, namespace: edge}
---
";

fn may_read(snapshot: &Snapshot, account: &str, namespace: &str) -> bool {
    let account = format!("spiffe://cluster.local/ns/edge/sa/{account}");
    let account = account.parse().unwrap();
    snapshot.secret_readers.permit(&account, namespace)
}

#[test]
fn a_role_and_its_binding_make_a_reader_of_secrets() {
    let (mut mesh, snapshot) = Mesh::new(READER);
    assert!(may_read(&snapshot, "gateway", "edge"));
    assert!(!may_read(&snapshot, "default", "edge"));
    assert!(!may_read(&snapshot, "gateway", "default"));
    let role = READER.split("---").next().unwrap();
    let snapshot = mesh.delete(role).unwrap();
    assert!(
        !may_read(&snapshot, "gateway", "edge"),
        "without its role a binding permits nothing"
    );
}

#[test]
fn a_cluster_role_is_bound_in_a_namespace_or_everywhere() {
    let role = READER
        .split("---")
        .next()
        .unwrap()
        .replace("kind: Role", "kind: ClusterRole")
        .replace(", namespace: edge", "");
    let binding = READER.split("---").nth(1).unwrap();
    let binding = binding.replace("kind: Role,", "kind: ClusterRole,");
    let (_, snapshot) = Mesh::new(&format!("{role}\n---\n{binding}"));
    assert!(may_read(&snapshot, "gateway", "edge"));
    assert!(!may_read(&snapshot, "gateway", "default"));
    let binding = binding
        .replace("kind: RoleBinding", "kind: ClusterRoleBinding")
        .replace("{name: secrets, namespace: edge}", "{name: secrets}");
    let (_, snapshot) = Mesh::new(&format!("{role}\n---\n{binding}"));
    assert!(may_read(&snapshot, "gateway", "default"));
    assert!(!may_read(&snapshot, "default", "default"));
}

#[test]
fn what_does_not_permit_to_list_all_secrets_permits_nothing() {
    let cases = [
        ("verbs: [get, list]", "verbs: [get, watch]"),
        ("[configmaps, secrets]", "[configmaps]"),
        ("apiGroups: ['']", "apiGroups: [apps]"),
        (
            "verbs: [get, list]",
            "verbs: [get, list], resourceNames: [one]",
        ),
        ("kind: Role, name", "kind: ClusterRole, name"),
        ("\"system:secrets\"}\nsubjects", "another}\nsubjects"),
        ("kind: ServiceAccount", "kind: User"),
        ("gateway, namespace: edge}", "gateway, namespace: other}"),
        ("gateway, namespace: edge}", "gateway}"),
    ];
    for (from, to) in cases {
        assert!(READER.contains(from), "{from}");
        let (_, snapshot) = Mesh::new(&READER.replace(from, to));
        assert!(!may_read(&snapshot, "gateway", "edge"), "{to}");
    }
    let any = READER
        .replace("[configmaps, secrets]", "['*']")
        .replace("verbs: [get, list]", "verbs: ['*']")
        .replace("apiGroups: ['']", "apiGroups: ['*']");
    assert!(may_read(&Mesh::new(&any).1, "gateway", "edge"));
}
