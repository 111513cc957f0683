//! State of a pod's containers, and how it shows in the Pod object.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{Pod, PodIP, PodStatus as ApiStatus};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{network::ROUTER, process::run::Report};

/// Annotation that gives a pod a certain address; one outside the pod range stands for a machine
/// outside the mesh.
pub const ADDRESS_ANNOTATION: &str = "weft.dev/pod-ip";

/// State of one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerState {
    /// Its name.
    pub name: String,
    /// Whether it runs to completion before others start.
    pub init: bool,
    /// Whether its process runs.
    pub running: bool,
    /// Whether its startup probe passed.
    pub started: bool,
    /// Whether its readiness probe passes.
    pub ready: bool,
    /// How often it was started again.
    pub restarts: u32,
    /// Last exit code.
    pub exit_code: Option<i32>,
}

/// State of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodStatus {
    /// Its containers in order.
    pub containers: Vec<ContainerState>,
    /// It is on its way out.
    pub terminating: bool,
    /// It cannot run.
    pub failed: bool,
    /// What it waits for, or why it failed.
    pub message: Option<String>,
}

impl PodStatus {
    /// Announces a container.
    pub fn expect(&mut self, name: &str, init: bool) {
        self.message = None;
        self.containers.push(ContainerState {
            name: name.to_owned(),
            init,
            running: false,
            started: false,
            ready: false,
            restarts: 0,
            exit_code: None,
        });
    }

    /// Takes a container's report into account.
    pub fn note(&mut self, name: &str, report: Report) {
        let Some(container) = self
            .containers
            .iter_mut()
            .find(|container| container.name == name)
        else {
            return;
        };
        match report {
            Report::Running => {
                container.restarts += u32::from(container.exit_code.is_some());
                container.running = true;
            }
            Report::Started => container.started = true,
            Report::Ready(ready) => container.ready = ready,
            Report::Exited(code) => {
                container.exit_code = Some(code);
                (container.running, container.started, container.ready) = (false, false, false);
            }
            Report::Failed(message) => self.message = Some(message),
            Report::Finished => {}
        }
    }

    /// Whether a container has started.
    pub fn started(&self, name: &str) -> bool {
        self.containers
            .iter()
            .any(|container| container.name == name && container.started)
    }

    /// Whether a container has ended well.
    pub fn succeeded(&self, name: &str) -> bool {
        self.containers.iter().any(|container| {
            container.name == name && !container.running && container.exit_code == Some(0)
        })
    }

    /// Whether the pod serves.
    pub fn ready(&self) -> bool {
        let mut serving = self
            .containers
            .iter()
            .filter(|container| !container.init)
            .peekable();
        !self.terminating
            && !self.failed
            && serving.peek().is_some()
            && serving.all(|container| container.ready)
    }

    /// Ready and all containers, as `kubectl get pods` counts them.
    pub fn ready_count(&self) -> (usize, usize) {
        let serving = self.containers.iter().filter(|container| !container.init);
        let ready = serving.clone().filter(|container| container.ready).count();
        (ready, serving.count())
    }

    /// One word for the table of pods.
    pub fn word(&self) -> &'static str {
        let crashed = |container: &ContainerState| {
            !container.running && container.exit_code.is_some_and(|code| code != 0)
        };
        let initialising =
            |container: &ContainerState| container.init && container.exit_code != Some(0);
        if self.terminating {
            "Terminating"
        } else if self.failed {
            "Failed"
        } else if self.containers.iter().any(crashed) {
            "CrashLoopBackOff"
        } else if self.containers.is_empty() {
            "Pending"
        } else if self.containers.iter().any(initialising) {
            "Init"
        } else {
            "Running"
        }
    }

    /// The `status` of the Pod object.
    pub fn to_api(&self, address: Option<Ipv4Addr>) -> Value {
        let phase = match self.word() {
            "Failed" => "Failed",
            "Pending" | "Init" => "Pending",
            _ => "Running",
        };
        let ready = if self.ready() { "True" } else { "False" };
        let states: Vec<_> = self.containers.iter().map(container_status).collect();
        let mut status = json!({
            "phase": phase,
            "hostIP": ROUTER.to_string(),
            "conditions": [
                {"type": "PodScheduled", "status": "True"},
                {"type": "ContainersReady", "status": ready},
                {"type": "Ready", "status": ready},
            ],
            "containerStatuses": states,
        });
        if let Some(address) = address {
            status["podIP"] = json!(address.to_string());
            status["podIPs"] = json!([{"ip": address.to_string()}]);
        }
        if let Some(message) = &self.message {
            status["message"] = json!(message);
        }
        status
    }
}

fn container_status(container: &ContainerState) -> Value {
    let state = match (container.running, container.exit_code) {
        (true, _) => json!({"running": {}}),
        (false, Some(code)) => json!({"terminated": {"exitCode": code}}),
        (false, None) => json!({"waiting": {"reason": "PodInitializing"}}),
    };
    json!({
        "name": container.name,
        "ready": container.ready,
        "started": container.started,
        "restartCount": container.restarts,
        "image": "",
        "imageID": "",
        "state": state,
    })
}

/// Writes a pod's address where the downward API reads it.
pub fn set_address(pod: &mut Pod, address: Ipv4Addr) {
    let status = pod.status.get_or_insert_with(ApiStatus::default);
    status.pod_ip = Some(address.to_string());
    status.pod_ips = Some(vec![PodIP {
        ip: address.to_string(),
    }]);
    status.host_ip = Some(ROUTER.to_string());
}

/// The address that a pod's annotation asks for.
pub fn requested_address(pod: &Pod) -> Option<Ipv4Addr> {
    pod.metadata
        .annotations
        .as_ref()?
        .get(ADDRESS_ANNOTATION)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_serves_when_all_its_lasting_containers_do() {
        let mut status = PodStatus::default();
        assert_eq!((status.ready(), status.word()), (false, "Pending"));
        status.expect("init", true);
        status.expect("app", false);
        status.note("init", Report::Running);
        assert_eq!(status.word(), "Init");
        status.note("init", Report::Exited(0));
        assert!(status.succeeded("init"));
        status.note("app", Report::Running);
        status.note("app", Report::Started);
        status.note("app", Report::Ready(true));
        assert_eq!(
            (status.ready(), status.word(), status.ready_count()),
            (true, "Running", (1, 1))
        );
        status.note("app", Report::Exited(1));
        assert_eq!((status.ready(), status.word()), (false, "CrashLoopBackOff"));
        status.note("app", Report::Running);
        assert_eq!(status.containers[1].restarts, 1);
    }
}
