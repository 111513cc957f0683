//! The mesh's accounts use every permission that they have, and ask for none that they lack. Runs after the others, and
//! before the mesh is removed: what they made it do is in the API server's audit log.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    mesh::Mesh,
    permissions::{Permission, Request, forbidden, granted, unused},
    poll,
};

const ONE_OF_EACH: &str = include_str!("../../manifests/one-of-each.yaml");
/// Regular expressions that the API server takes and we refuse.
const REFUSED: [&str; 2] = ["a(b", "a(c"];
/// The audit log, by the server of log files that every kubelet has.
const LOG: &str = "proxy/logs/weft/audit.log";
const CONTROL_PLANE_NODE: &str = "node-role.kubernetes.io/control-plane";
const TIMEOUT: Duration = Duration::from_secs(30);

/// A permission that the suite does not make use of, with what it is for.
type Excuse = (&'static str, &'static str);

const EXCUSED: &[Excuse] = &[
    (
        "Role istio-system/istiod: update core/secrets \"istio-ca-secret\"",
        "a self-signed root is renewed when it is years old",
    ),
    (
        "ClusterRole istiod-clusterrole-istio-system: patch networking.k8s.io/ingresses/status",
        "the address is that of a load balancer, which the lab does not have",
    ),
    (
        "ClusterRole weft-cni: create events.k8s.io/events",
        "about a pod that could not be captured",
    ),
    (
        "ClusterRole weft-cni: patch events.k8s.io/events",
        "about a pod that could not be captured, again",
    ),
    (
        "ClusterRole istiod-clusterrole-istio-system: patch security.istio.io/requestauthentications/status",
        "admission refuses them, so that only those have a status that were there before",
    ),
    // The gateway reads none: the control plane asks whether it may before it sends their certificates.
    (
        "Role istio-system/istio-ingressgateway: get core/secrets",
        "looked at by reviews of access alone",
    ),
    (
        "Role istio-system/istio-ingressgateway: list core/secrets",
        "looked at by reviews of access alone",
    ),
    (
        "Role istio-system/istio-ingressgateway: watch core/secrets",
        "looked at by reviews of access alone",
    ),
];

pub(super) fn run(mesh: &mut Mesh) -> Result<()> {
    let [first, second] = REFUSED.map(|regex| ONE_OF_EACH.replace("${REGEX}", regex));
    mesh.apply(&first)?;
    poll::until("an event about the route", TIMEOUT, || {
        let events = mesh.kubectl(&["get", "events", "-n", "outside", "-o", "json"])?;
        ensure!(events.contains(REFUSED[0]), "no event names the expression");
        Ok(())
    })?;
    // The same again is no other event, but one more of the first.
    mesh.apply(&second)?;
    let granted = granted(&roles(mesh)?);
    poll::until("the use of all permissions", TIMEOUT, || {
        judge(&granted, &requests(mesh)?, EXCUSED)
    })
}

fn roles(mesh: &Mesh) -> Result<Value> {
    let ours = "--selector=app.kubernetes.io/part-of=weft";
    let kinds = "clusterroles,roles";
    let roles = mesh.kubectl(&["get", kinds, "-A", ours, "-o", "json"])?;
    serde_json::from_str(&roles).context("roles are not JSON")
}

fn requests(mesh: &Mesh) -> Result<Vec<Request>> {
    let selector = format!("--selector={CONTROL_PLANE_NODE}");
    let node = mesh.kubectl(&["get", "nodes", &selector, "-o", "name"])?;
    let path = format!("/api/v1/{}/{LOG}", node.trim().replace("node/", "nodes/"));
    let log = mesh
        .kubectl(&["get", "--raw", &path])
        .context("the API server writes no audit log as in e2e/kind/kind.yaml")?;
    Request::read_all(&log)
}

fn judge(granted: &BTreeSet<Permission>, requests: &[Request], excused: &[Excuse]) -> Result<()> {
    let forbidden = forbidden(requests).into_iter();
    let forbidden: BTreeSet<String> = forbidden.map(Request::to_string).collect();
    ensure!(forbidden.is_empty(), "forbidden: {forbidden:#?}");
    let unused: BTreeSet<String> = unused(granted, requests)
        .iter()
        .map(Permission::to_string)
        .collect();
    let excused: BTreeSet<String> = excused.iter().map(|(one, _)| (*one).to_owned()).collect();
    let wrong: Vec<&String> = unused.difference(&excused).collect();
    ensure!(wrong.is_empty(), "granted and not used: {wrong:#?}");
    let stale: Vec<&String> = excused.difference(&unused).collect();
    ensure!(
        stale.is_empty(),
        "excused, but not granted or used: {stale:#?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judged(requests: &[Request]) -> String {
        let roles = json!({"items": [
            {"metadata": {"name": "istiod-clusterrole-istio-system"}, "rules": [
                {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
            ]},
            {"metadata": {"name": "istiod", "namespace": "istio-system"}, "rules": [
                {"apiGroups": [""], "resources": ["secrets"], "verbs": ["update"], "resourceNames": ["istio-ca-secret"]},
            ]},
        ]});
        let excused = (
            "Role istio-system/istiod: update core/secrets \"istio-ca-secret\"",
            "once in years",
        );
        match judge(&granted(&roles), requests, &[excused]) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    fn list_of_pods() -> Request {
        Request {
            verb: "list".to_owned(),
            resource: "pods".to_owned(),
            allowed_by: Some("ClusterRole istiod-clusterrole-istio-system".to_owned()),
            ..Request::default()
        }
    }

    #[test]
    fn what_is_used_or_excused_passes() {
        assert_eq!(judged(&[list_of_pods()]), "");
    }

    #[test]
    fn what_is_not_used_fails() {
        let said = judged(&[]);
        assert!(said.starts_with("granted and not used"), "{said}");
        assert!(said.contains("list core/pods"), "{said}");
    }

    #[test]
    fn what_is_forbidden_fails() {
        let forbidden = Request {
            forbidden: true,
            name: "one".to_owned(),
            allowed_by: None,
            ..list_of_pods()
        };
        let said = judged(&[list_of_pods(), forbidden]);
        assert!(said.starts_with("forbidden"), "{said}");
    }

    #[test]
    fn an_excuse_that_is_not_needed_fails() {
        let update = Request {
            verb: "update".to_owned(),
            resource: "secrets".to_owned(),
            name: "istio-ca-secret".to_owned(),
            allowed_by: Some("Role istio-system/istiod".to_owned()),
            ..Request::default()
        };
        let said = judged(&[list_of_pods(), update]);
        assert!(said.starts_with("excused"), "{said}");
    }
}
