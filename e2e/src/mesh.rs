//! A running mesh as a case sees it: where to send from, what to apply, whom to ask.

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
    process::{Child, Output},
    rc::Rc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    args::DataPlane,
    cluster::{Cluster, Pod},
    poll,
    samples::Samples,
    traffic::Traffic,
};

/// The container of every sidecar.
pub const PROXY: &str = "istio-proxy";

/// A mesh, and what the running case has done to it.
pub struct Mesh {
    cluster: Box<dyn Cluster>,
    data_plane: DataPlane,
    samples: Samples,
    applied: Vec<PathBuf>,
    scratch: tempfile::TempDir,
    sent: Rc<Cell<u64>>,
}

impl Mesh {
    /// The mesh in `cluster`.
    pub fn new(cluster: Box<dyn Cluster>, data_plane: DataPlane, samples: Samples) -> Result<Self> {
        Ok(Self {
            cluster,
            data_plane,
            samples,
            applied: Vec::new(),
            scratch: tempfile::tempdir().context("no temporary directory")?,
            sent: Rc::new(Cell::new(0)),
        })
    }

    /// What its proxies are.
    pub fn data_plane(&self) -> DataPlane {
        self.data_plane
    }

    /// The sample manifests.
    pub fn samples(&self) -> &Samples {
        &self.samples
    }

    /// The cluster itself.
    pub fn cluster(&self) -> &dyn Cluster {
        &*self.cluster
    }

    /// Takes the number of requests since the last call.
    pub fn take_sent(&self) -> u64 {
        self.sent.take()
    }

    /// Applies a file; it is deleted when the case ends.
    pub fn apply_file(&mut self, path: &Path) -> Result<()> {
        self.cluster
            .apply(path)
            .with_context(|| format!("cannot apply {}", path.display()))?;
        if !self.applied.iter().any(|applied| applied == path) {
            self.applied.push(path.to_owned());
        }
        Ok(())
    }

    /// Applies a manifest; it is deleted when the case ends.
    pub fn apply(&mut self, manifest: &str) -> Result<()> {
        let path = self.scratch_file(manifest)?;
        self.apply_file(&path)
    }

    /// Applies one of bookinfo's networking files by name.
    pub fn apply_bookinfo(&mut self, name: &str) -> Result<()> {
        let path = self.samples.bookinfo_networking(name)?;
        self.apply_file(&path)
    }

    /// Deletes what a manifest names.
    pub fn delete(&mut self, manifest: &str) -> Result<()> {
        let path = self.scratch_file(manifest)?;
        self.cluster.delete(&path)
    }

    /// Deletes everything that was applied, the latest first.
    pub fn reset(&mut self) -> Result<()> {
        while let Some(path) = self.applied.pop() {
            self.cluster
                .delete(&path)
                .with_context(|| format!("cannot delete {}", path.display()))?;
        }
        Ok(())
    }

    /// A file with `text` that lives as long as the mesh.
    pub fn scratch_file(&self, text: &str) -> Result<PathBuf> {
        let count = fs::read_dir(self.scratch.path())?.count();
        let path = self.scratch.path().join(format!("{count:04}.yaml"));
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Requests from this machine through the ingress gateway.
    pub fn ingress(&self, path: &str) -> Traffic<'_> {
        let url = format!("{}{path}", self.cluster.ingress());
        let launch = |args: &[String]| self.cluster.here(args);
        Traffic::new(Box::new(launch), self.sent.clone(), ["--url", &url])
    }

    /// Requests from the pod whose name starts with `from` ("namespace/name").
    pub fn from(&self, from: &str, url: &str) -> Result<Traffic<'_>> {
        self.traffic_from(from, ["--url", url])
    }

    /// TCP connections from a pod.
    pub fn tcp_from(&self, from: &str, address: &str) -> Result<Traffic<'_>> {
        self.traffic_from(from, ["--tcp", address])
    }

    fn traffic_from(&self, from: &str, target: [&str; 2]) -> Result<Traffic<'_>> {
        let pod = self.pod(from)?;
        let launch = move |args: &[String]| self.client_in(&pod, args);
        Ok(Traffic::new(Box::new(launch), self.sent.clone(), target))
    }

    fn client_in(&self, pod: &Pod, args: &[String]) -> Result<Child> {
        let mut command = vec!["testapp".to_owned(), "client".to_owned()];
        command.extend_from_slice(args);
        self.cluster.exec(pod, &command)
    }

    /// The pod that is ready and whose name starts with `name` ("namespace/name").
    pub fn pod(&self, name: &str) -> Result<Pod> {
        let pods = self.pods(name)?;
        let ready = pods.into_iter().find(|pod| pod.ready && !pod.terminating);
        ready.with_context(|| format!("no pod {name} is ready"))
    }

    /// All pods whose names start with `name` ("namespace/name").
    pub fn pods(&self, name: &str) -> Result<Vec<Pod>> {
        let (namespace, name) = name.split_once('/').context("a namespace is missing")?;
        let mut pods = self.cluster.pods()?;
        pods.retain(|pod| pod.namespace == namespace && pod.name.starts_with(name));
        Ok(pods)
    }

    /// Runs a command in a pod and waits for its end.
    pub fn exec(&self, pod: &str, command: &[&str]) -> Result<Output> {
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        let child = self.cluster.exec(&self.pod(pod)?, &command)?;
        Ok(child.wait_with_output()?)
    }

    /// The log of a pod's proxy.
    pub fn proxy_log(&self, pod: &str) -> Result<String> {
        self.cluster.logs(&self.pod(pod)?, PROXY)
    }

    /// Waits until a line that `wanted` likes is in the log of a pod's proxy.
    pub fn wait_for_log(
        &self,
        pod: &str,
        what: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String> {
        poll::until(what, poll::IN_FORCE, || {
            let log = self.proxy_log(pod)?;
            let line = log.lines().rev().find(|line| wanted(line));
            line.map(str::to_owned).with_context(|| {
                let last: Vec<&str> = log.lines().rev().take(3).collect();
                format!("the last lines are {last:#?}")
            })
        })
    }

    /// The serial numbers in the chain of a workload's certificate, its own first, as its proxy shows them.
    pub fn certificate_chain(&self, pod: &str) -> Result<Vec<String>> {
        let pod = self.pod(pod)?;
        let name = format!("{}.{}", pod.name, pod.namespace);
        let args = ["proxy-config", "secrets", &name, "--output=json"];
        let out = self.cluster.meshctl(&args)?.ok()?;
        let secrets: serde_json::Value = serde_json::from_str(&out)?;
        serials(&secrets).with_context(|| format!("no certificate in {secrets}"))
    }

    /// Waits until every pod that `up` started is ready.
    pub fn wait_until_ready(&self, limit: Duration) -> Result<usize> {
        poll::until("readiness of all pods", limit, || {
            let mut pods = self.cluster.pods()?;
            pods.retain(|pod| !pod.succeeded);
            ensure!(!pods.is_empty(), "there are no pods");
            let waiting: Vec<&str> = pods
                .iter()
                .filter(|pod| !pod.ready || pod.terminating)
                .map(|pod| pod.name.as_str())
                .collect();
            ensure!(waiting.is_empty(), "not ready: {}", waiting.join(", "));
            Ok(pods.len())
        })
    }

    /// What `kubectl` answers; an error where it fails.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.cluster.tool("kubectl", args)?.ok()
    }

    /// What the control plane counts, in Prometheus's text format.
    pub fn control_plane_metrics(&self) -> Result<String> {
        let url = "http://istiod.istio-system:15014/metrics";
        let metrics = self.from("apps/client", url)?.send()?;
        Ok(metrics.first()?.body.clone())
    }

    /// No proxy has rejected what the control plane sent, and no Envoy has complained about a field.
    pub fn no_rejections(&self) -> Result<()> {
        for line in self.control_plane_metrics()?.lines() {
            let rejected = line.starts_with("pilot_total_xds_rejects")
                || line.starts_with("pilot_xds_cds_reject")
                || line.starts_with("pilot_xds_lds_reject")
                || line.starts_with("pilot_xds_rds_reject")
                || line.starts_with("pilot_xds_eds_reject");
            if rejected && !line.ends_with(" 0") {
                let status = self.cluster.meshctl(&["proxy-status"])?;
                bail!(
                    "a proxy rejected its configuration: {line}\n{}{}",
                    status.out,
                    status.err
                );
            }
        }
        for pod in self.cluster.pods()? {
            if !pod.containers.iter().any(|name| name == PROXY) {
                continue;
            }
            let log = self.cluster.logs(&pod, PROXY)?;
            for sign in [
                "rejected:",
                "Unexpected unknown field",
                "unknown fields",
                "deprecated option",
            ] {
                if let Some(line) = log.lines().find(|line| line.contains(sign)) {
                    bail!("the proxy of {} complains: {line}", pod.name);
                }
            }
        }
        Ok(())
    }
}

fn serials(secrets: &serde_json::Value) -> Option<Vec<String>> {
    let certificates = secrets["certificates"].as_array()?;
    let workload = certificates.iter().find(|held| held["name"] == "default")?;
    let chain = workload["cert_chain"].as_array()?.iter();
    let serial = |one: &serde_json::Value| one["serial_number"].as_str().map(str::to_owned);
    chain.map(serial).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_are_those_of_the_workloads_chain() {
        let secrets = serde_json::json!({"certificates": [
            {"name": "ROOTCA", "ca_cert": [{"serial_number": "01"}], "cert_chain": []},
            {"name": "default", "ca_cert": [], "cert_chain": [{"serial_number": "07"}, {"serial_number": "02"}]},
        ]});
        assert_eq!(serials(&secrets).unwrap(), ["07", "02"]);
    }
}
