//! A node is drained, as for an upgrade of its kernel, with what `docs/operations/production.md` asks for: two of
//! everything that requests pass, and disruption budgets that keep one of them.

use anyhow::{Result, ensure};

use super::{BOOKINFO, REPLACEMENT_TIMEOUT, under_load};
use crate::{
    cluster::{Pod, SYSTEM},
    mesh::Mesh,
    poll,
};

const GATEWAY: &str = "istio-ingressgateway";
const REPLICAS: usize = 2;

/// A deployment that the drain may not interrupt, with the number of its pods before.
struct Guarded {
    namespace: &'static str,
    deployment: &'static str,
    replicas: usize,
}

pub(super) fn run(mesh: &mut Mesh) -> Result<()> {
    let guarded = find(mesh)?;
    let outcome = double(mesh, &guarded)
        .and_then(|()| under_load(mesh, || drain_the_gateways_node(mesh, &guarded)));
    let restored = restore(mesh, &guarded);
    outcome.and(restored)
}

fn find(mesh: &Mesh) -> Result<Vec<Guarded>> {
    let bookinfo = BOOKINFO.map(|deployment| ("default", deployment));
    [(SYSTEM, "istiod"), (SYSTEM, GATEWAY)]
        .into_iter()
        .chain(bookinfo)
        .map(|(namespace, deployment)| {
            let guarded = Guarded {
                namespace,
                deployment,
                replicas: 0,
            };
            let replicas = guarded.running(mesh)?.len();
            Ok(Guarded {
                replicas,
                ..guarded
            })
        })
        .collect()
}

/// Two pods and a disruption budget for each deployment that had one pod; the others have budgets of their own.
fn double(mesh: &mut Mesh, guarded: &[Guarded]) -> Result<()> {
    let single = || guarded.iter().filter(|one| one.replicas < REPLICAS);
    mesh.apply(&single().map(Guarded::budget).collect::<String>())?;
    single().try_for_each(|one| one.scale(mesh, REPLICAS))?;
    poll::until("two pods of everything", REPLACEMENT_TIMEOUT, || {
        guarded.iter().try_for_each(|one| one.is_complete(mesh))
    })
}

fn restore(mesh: &Mesh, guarded: &[Guarded]) -> Result<()> {
    guarded
        .iter()
        .try_for_each(|one| one.scale(mesh, one.replicas))?;
    mesh.wait_until_ready(REPLACEMENT_TIMEOUT).map(drop)
}

fn drain_the_gateways_node(mesh: &Mesh, guarded: &[Guarded]) -> Result<()> {
    let node = mesh.pod(&format!("{SYSTEM}/{GATEWAY}-"))?.node;
    let drained = drain(mesh, &node).and_then(|()| {
        poll::until("everything on another node", REPLACEMENT_TIMEOUT, || {
            guarded.iter().try_for_each(|one| {
                one.is_complete(mesh)?;
                let left = one.running(mesh)?.iter().any(|pod| pod.node == node);
                ensure!(!left, "{} runs on {node}", one.deployment);
                Ok(())
            })
        })
    });
    let opened = mesh.kubectl(&["uncordon", &node]);
    drained.and(opened).map(drop)
}

/// Keeps new pods from a node, and evicts those that are there as far as disruption budgets let it.
fn drain(mesh: &Mesh, node: &str) -> Result<()> {
    let timeout = format!("--timeout={}s", REPLACEMENT_TIMEOUT.as_secs());
    let evicted = ["--ignore-daemonsets", "--delete-emptydir-data"];
    let args = [&["drain", node, &timeout], &evicted[..]].concat();
    mesh.kubectl(&args).map(drop)
}

impl Guarded {
    fn running(&self, mesh: &Mesh) -> Result<Vec<Pod>> {
        let mut pods = mesh.pods(&format!("{}/{}-", self.namespace, self.deployment))?;
        pods.retain(|pod| !pod.terminating);
        Ok(pods)
    }

    fn is_complete(&self, mesh: &Mesh) -> Result<()> {
        let pods = self.running(mesh)?;
        let ready = pods.iter().filter(|pod| pod.ready).count();
        let wanted = self.replicas.max(REPLICAS);
        ensure!(
            ready == wanted,
            "{ready} of {wanted} pods of {} are ready",
            self.deployment
        );
        Ok(())
    }

    fn scale(&self, mesh: &Mesh, replicas: usize) -> Result<()> {
        let replicas = format!("--replicas={replicas}");
        let deployment = ["scale", "deployment", self.deployment, &replicas];
        mesh.kubectl(&[&deployment[..], &["-n", self.namespace]].concat())
            .map(drop)
    }

    /// Deployments of bookinfo are named after the labels `app` and `version` of their pods, the others after `app`.
    fn budget(&self) -> String {
        let Self {
            namespace,
            deployment,
            ..
        } = self;
        let labels = match deployment.rsplit_once('-') {
            Some((app, version)) if *namespace != SYSTEM => {
                format!("app: {app}, version: {version}")
            }
            _ => format!("app: {deployment}"),
        };
        format!(
            "---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{name: e2e-{deployment}, namespace: {namespace}}}
spec:
  minAvailable: 1
  selector: {{matchLabels: {{{labels}}}}}
"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(namespace: &'static str, deployment: &'static str, selector: &str) {
        let guarded = Guarded {
            namespace,
            deployment,
            replicas: 1,
        };
        let budget = guarded.budget();
        assert!(
            budget.ends_with(&format!("matchLabels: {{{selector}}}}}\n")),
            "{budget}"
        );
    }

    #[test]
    fn a_budget_selects_the_pods_of_its_deployment_only() {
        check("default", "reviews-v1", "app: reviews, version: v1");
        check(SYSTEM, "istio-ingressgateway", "app: istio-ingressgateway");
        check(SYSTEM, "istiod", "app: istiod");
    }
}
