//! What follows from objects and pods: cluster addresses, generated files, names, router rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use super::{Controller, PodView, View};
use crate::{
    desired::Objects,
    dns::Zone,
    endpoints::{self, Addressed, Backend},
    manifest,
    network::{self, services},
    state::Mirror,
    system,
};

/// The API group of roles and bindings.
const RBAC: &str = "rbac.authorization.k8s.io";

impl Controller {
    pub(super) async fn publish(&mut self) {
        let services = self.addressed_services();
        let backends = self.backends();
        let generated = self.generated_objects(&services, &backends);

        let files = generated.values().map(|object| {
            (
                format!("{}.json", object.key.file_stem()),
                object.text.clone(),
            )
        });
        sync(&mut self.generated, files.collect());
        let applied = self
            .desired
            .applied()
            .values()
            .map(|object| (file_name(object), object.text.clone()));
        let applied = applied.collect();
        sync(&mut self.applied, applied);

        let mut zone = Zone::with_hosts(&self.wiring.shared.options.hosts);
        endpoints::add_names(&mut zone, &services, &backends);
        replace(&self.wiring.zone, Arc::new(zone));

        let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
        let rules = services::render(&endpoints::frontends(&services, &backends), &addresses);
        self.apply_rules(rules).await;

        replace(&self.wiring.webhook, self.webhook());
        self.wiring
            .view
            .send_replace(Arc::new(self.view(generated)));
    }

    /// Before anybody sees a pod as ready, connections to its services must find it.
    async fn apply_rules(&mut self, rules: String) {
        if rules == self.rules {
            return;
        }
        match network::apply_nft(&rules).await {
            Ok(()) => self.rules = rules,
            // Tried again with the next change.
            Err(error) => tracing::error!(%error, "service rules not applied"),
        }
    }

    /// All services; those that want a cluster address keep the one they have.
    fn addressed_services(&mut self) -> Vec<Addressed> {
        let objects = self.objects.clone();
        let known = |key: &manifest::ObjectKey| key.kind == "Service" && key.group.is_empty();
        let mut found = Vec::new();
        for (key, object) in objects.iter().filter(|(key, _)| known(key)) {
            let service: Service = match object.decode() {
                Ok(service) => service,
                Err(error) => {
                    tracing::warn!(%error, "service not used");
                    continue;
                }
            };
            let addressless =
                endpoints::is_headless(&service) || endpoints::external_name(&service).is_some();
            let cluster_ip = if addressless {
                None
            } else {
                self.cluster_ip(key, &service)
            };
            found.push(Addressed {
                namespace: key.namespace.clone(),
                name: key.name.clone(),
                service,
                cluster_ip,
            });
        }
        let gone: Vec<_> = self
            .cluster_ips
            .keys()
            .filter(|key| !objects.contains_key(*key))
            .cloned()
            .collect();
        for key in gone {
            if let Some(address) = self.cluster_ips.remove(&key) {
                self.services.release(address);
            }
        }
        found
    }

    fn cluster_ip(&mut self, key: &manifest::ObjectKey, service: &Service) -> Option<Ipv4Addr> {
        if let Some(address) = self.cluster_ips.get(key) {
            return Some(*address);
        }
        let stated = service
            .spec
            .as_ref()
            .and_then(|spec| spec.cluster_ip.as_ref()?.parse().ok());
        let address = match stated {
            Some(address) => self.services.reserve(address).map(|()| address),
            None => self.services.allocate(),
        };
        match address {
            Ok(address) => {
                self.cluster_ips.insert(key.clone(), address);
                Some(address)
            }
            Err(error) => {
                tracing::warn!(service = %key, %error, "no cluster address");
                None
            }
        }
    }

    fn backends(&self) -> Vec<Backend> {
        let backend = |record: &super::Record| {
            Some(Backend {
                pod: (*record.pod).clone(),
                address: record.address?,
                ready: record.status.ready(),
                terminating: record.leaving || record.status.terminating,
            })
        };
        self.pods.values().filter_map(backend).collect()
    }

    fn generated_objects(&self, services: &[Addressed], backends: &[Backend]) -> Objects {
        let mut values: Vec<Value> = self
            .pods
            .values()
            .filter(|record| record.address.is_some())
            .map(pod_object)
            .collect();
        for service in services {
            values.push(service_object(service, &self.objects));
            if endpoints::external_name(&service.service).is_none() {
                values.extend(endpoints::slices(service, backends));
            }
        }
        values.extend(self.implied_objects());
        values.extend(self.access_objects());
        as_objects(values)
    }

    /// Roles and bindings: the mesh's own stand in no directory that the control plane reads.
    fn access_objects(&self) -> Vec<Value> {
        let own = self
            .objects
            .iter()
            .filter(|(key, _)| key.group == RBAC && self.desired.is_default(key));
        own.map(|(_, object)| object.value.clone()).collect()
    }

    /// Namespaces that objects are in, each with its default account.
    fn implied_objects(&self) -> Vec<Value> {
        let namespaces: BTreeSet<_> = self
            .objects
            .keys()
            .map(|key| key.namespace.as_str())
            .filter(|name| !name.is_empty())
            .collect();
        let labels = |namespace: &str| {
            let mut labels = self.namespace_labels(namespace);
            labels.insert(
                "kubernetes.io/metadata.name".to_owned(),
                namespace.to_owned(),
            );
            labels
        };
        let both = |namespace: &&str| {
            [
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels(namespace)}}),
                json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace}}),
            ]
        };
        namespaces.iter().flat_map(both).collect()
    }

    /// The webhook of the control plane's first pod that is up.
    fn webhook(&self) -> Option<SocketAddr> {
        let is_control_plane = |record: &&super::Record| {
            let owner = record.owner.as_ref();
            owner.is_some_and(|key| {
                key.namespace == system::NAMESPACE && key.name == system::CONTROL_PLANE
            })
        };
        let up = self
            .pods
            .values()
            .filter(is_control_plane)
            .find(|record| record.status.containers.iter().any(|c| c.running));
        Some(SocketAddr::from((up?.address?, system::WEBHOOK_PORT)))
    }

    fn view(&self, generated: Objects) -> View {
        let pod = |record: &super::Record| PodView {
            pod: record.pod.clone(),
            address: record.address,
            pid: record.pid,
            status: record.status.clone(),
            created: record.created_at,
            owner: record.owner.clone(),
        };
        let mut objects = (*self.objects).clone();
        objects.extend(generated);
        // Pods that have no address yet are not for the control plane, but for people.
        let pending = self
            .pods
            .values()
            .filter(|record| record.address.is_none())
            .map(pod_object);
        objects.extend(as_objects(pending.collect()));
        View {
            pods: self
                .pods
                .iter()
                .map(|(name, record)| (name.clone(), pod(record)))
                .collect(),
            objects: Arc::new(objects),
            errors: self.desired.errors.clone(),
        }
    }
}

fn as_objects(values: Vec<Value>) -> Objects {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": values});
    let objects = manifest::parse(&list.to_string(), Path::new("generated"), "default").objects;
    objects
        .into_iter()
        .map(|object| (object.key.clone(), object))
        .collect()
}

fn replace<T: PartialEq>(sender: &tokio::sync::watch::Sender<T>, value: T) {
    sender.send_if_modified(|current| {
        let changed = *current != value;
        if changed {
            *current = value;
        }
        changed
    });
}

fn sync(mirror: &mut Mirror, files: BTreeMap<String, String>) {
    if let Err(error) = mirror.sync(&files) {
        tracing::error!(%error, "state not written");
    }
}

/// Applied documents keep the form they were written in.
fn file_name(object: &manifest::Object) -> String {
    let extension = if object.text.trim_start().starts_with('{') {
        "json"
    } else {
        "yaml"
    };
    format!("{}.{extension}", object.key.file_stem())
}

fn pod_object(record: &super::Record) -> Value {
    let mut value = serde_json::to_value(&*record.pod).unwrap_or_default();
    value["apiVersion"] = json!("v1");
    value["kind"] = json!("Pod");
    value["status"] = record.status.to_api(record.address);
    if record.leaving {
        value["metadata"]["deletionTimestamp"] = json!(
            jiff::Timestamp::try_from(record.created_at)
                .map(|t| t.to_string())
                .unwrap_or_default()
        );
    }
    value
}

fn service_object(service: &Addressed, objects: &Objects) -> Value {
    let key = manifest::ObjectKey {
        group: String::new(),
        kind: "Service".into(),
        namespace: service.namespace.clone(),
        name: service.name.clone(),
    };
    let mut value = objects
        .get(&key)
        .map(|object| object.value.clone())
        .unwrap_or_default();
    if let Some(address) = service.cluster_ip {
        value["spec"]["clusterIP"] = json!(address.to_string());
        value["spec"]["clusterIPs"] = json!([address.to_string()]);
    }
    value
}
