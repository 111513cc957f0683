//! Workloads to pods: what a Deployment, StatefulSet or Pod object wants, and acting on the plan.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        core::v1::{Pod, PodTemplateSpec},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};

use super::{Controller, PodName};
use crate::{
    manifest::{ManifestError, Object, ObjectKey},
    rollout::{self, Present, Strategy, Wanted},
    system::NODE,
};

/// Annotation that a restart adds to the template, as `kubectl rollout restart` does.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// Label with the template's hash.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// What is left of a base name beside a dash and five letters.
const GENERATED_BASE_BYTES_MAX: usize = 57;

/// A workload with its template.
struct Workload {
    key: ObjectKey,
    template: PodTemplateSpec,
    wanted: Wanted,
}

impl Controller {
    pub(super) fn reconcile_workloads(&mut self) {
        let objects = self.objects.clone();
        let mut owned = BTreeSet::new();
        for object in objects.values() {
            match workload(object, self.restarted.get(&object.key)) {
                Ok(Some(workload)) => {
                    owned.insert(workload.key.clone());
                    self.reconcile_workload(&workload);
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "workload not used"),
            }
        }
        // Pods whose workload is gone go as well.
        let orphans = self.pods.iter().filter(|(_, pod)| {
            pod.owner
                .as_ref()
                .is_some_and(|owner| !owned.contains(owner))
        });
        let orphans: Vec<_> = orphans.map(|(name, _)| name.clone()).collect();
        for name in orphans {
            self.delete_pod(&name);
        }
    }

    fn reconcile_workload(&mut self, workload: &Workload) {
        let owned = self
            .pods
            .iter()
            .filter(|(_, pod)| pod.owner.as_ref() == Some(&workload.key));
        let present: Vec<_> = owned
            .map(|((_, name), pod)| Present {
                name: name.clone(),
                revision: pod.revision.clone(),
                ready: pod.status.ready(),
                terminating: pod.leaving,
                created: pod.created,
            })
            .collect();
        let actions = rollout::plan(&workload.wanted, &present);
        for name in actions.delete {
            self.delete_pod(&(workload.key.namespace.clone(), name));
        }
        for index in actions.create {
            let pod = new_pod(workload, index);
            let name: PodName = (
                workload.key.namespace.clone(),
                pod.metadata.name.clone().unwrap_or_default(),
            );
            if !self.pods.contains_key(&name) {
                self.create_pod(
                    pod,
                    Some(workload.key.clone()),
                    workload.wanted.revision.clone(),
                );
            }
        }
    }
}

/// The workload that an object is, if it is one.
fn workload(
    object: &Object,
    restarted: Option<&String>,
) -> Result<Option<Workload>, ManifestError> {
    let count = |replicas: Option<i32>| usize::try_from(replicas.unwrap_or(1)).unwrap_or(0);
    let (mut template, replicas, strategy) = match object.key.kind.as_str() {
        "Deployment" => {
            let deployment: Deployment = object.decode()?;
            let replicas = count(deployment.spec.replicas);
            let strategy = rollout::deployment_strategy(&deployment, replicas);
            (deployment.spec.template, replicas, strategy)
        }
        "StatefulSet" => {
            let spec = object.decode::<StatefulSet>()?.spec;
            (spec.template, count(spec.replicas), Strategy::Ordered)
        }
        // There is one node.
        "DaemonSet" => (
            object.decode::<DaemonSet>()?.spec.template,
            1,
            Strategy::Recreate,
        ),
        "Pod" => {
            let pod: Pod = object.decode()?;
            (
                PodTemplateSpec {
                    metadata: Some(pod.metadata),
                    spec: pod.spec,
                },
                1,
                Strategy::Recreate,
            )
        }
        _ => return Ok(None),
    };
    if let Some(time) = restarted {
        let annotations = template
            .metadata
            .get_or_insert_default()
            .annotations
            .get_or_insert_default();
        annotations.insert(RESTARTED_AT.to_owned(), time.clone());
    }
    let wanted = Wanted {
        replicas,
        revision: rollout::revision(&template),
        strategy,
    };
    Ok(Some(Workload {
        key: object.key.clone(),
        template,
        wanted,
    }))
}

fn new_pod(workload: &Workload, index: usize) -> Pod {
    let Workload {
        key,
        template,
        wanted,
    } = workload;
    let template_metadata = template.metadata.clone().unwrap_or_default();
    let mut labels = template_metadata.labels.unwrap_or_default();
    let mut owner = Some((key.kind.clone(), key.name.clone()));
    let (name, generate_name) = match key.kind.as_str() {
        "Deployment" => {
            labels.insert(TEMPLATE_HASH.to_owned(), wanted.revision.clone());
            let set = format!("{}-{}", key.name, wanted.revision);
            owner = Some(("ReplicaSet".to_owned(), set.clone()));
            (generated(&set), Some(format!("{set}-")))
        }
        "StatefulSet" => (format!("{}-{index}", key.name), None),
        "DaemonSet" => (generated(&key.name), Some(format!("{}-", key.name))),
        _ => {
            owner = None;
            (key.name.clone(), None)
        }
    };
    let owner_references = owner.map(|(kind, name)| {
        vec![OwnerReference {
            api_version: "apps/v1".to_owned(),
            kind,
            uid: format!("{name}-uid"),
            name,
            controller: Some(true),
            block_owner_deletion: Some(true),
        }]
    });
    let mut spec = template.spec.clone().unwrap_or_default();
    spec.service_account_name
        .get_or_insert_with(|| "default".to_owned());
    spec.node_name = Some(NODE.to_owned());
    Pod {
        metadata: ObjectMeta {
            name: Some(name),
            generate_name,
            namespace: Some(key.namespace.clone()),
            uid: Some(format!("{:032x}", fastrand::u128(..))),
            labels: Some(labels),
            annotations: template_metadata.annotations,
            owner_references,
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    }
}

/// A name that fits into a label, as the API server generates it.
fn generated(base: &str) -> String {
    let base = &base[..base.floor_char_boundary(GENERATED_BASE_BYTES_MAX)];
    format!(
        "{}-{}",
        base.trim_end_matches(['-', '.']),
        rollout::random_suffix()
    )
}
