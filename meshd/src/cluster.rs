//! The cluster that this control plane serves: how it is reached, and what is written to it.
//!
//! Every replica reads; only the one that holds a lease writes. Mesh-wide writers (roots in every namespace,
//! conditions) share one lease across revisions, since two revisions would write the same objects; the
//! writers of a revision's own webhooks have a lease of their revision.

pub(crate) mod leader;

pub(crate) mod injector_values;

mod root_config_maps;

pub(crate) mod secret_access;

mod webhook_ca;

mod webhook_probe;

#[cfg(test)]
mod test_api;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use citadel::trust_bundle::TrustBundle;
use galley::source::kube::{KubeOptions, KubeSource};
use galley::status::{Reports, StatusWriter};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use mesh_runtime::drain;
use mesh_runtime::task::Tasks;
use tokio::sync::watch;

use crate::args::kubernetes::{KubernetesArgs, NativeSidecars};
use leader::Election;
use webhook_ca::WebhookCa;

/// The lease of mesh-wide writers.
const MESH_LEASE: &str = "istio-leader";

/// The first version whose kubelets know init containers that keep running, without a feature gate.
const NATIVE_SIDECARS: (u32, u32) = (1, 29);

/// Answers about a lease that come later than this are too late: it lasts a few times as long.
const LEASE_TIMEOUT: Duration = Duration::from_secs(4);

/// A cluster that was reached.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) args: KubernetesArgs,
    pub(crate) leads: Leads,
    version: (u32, u32),
}

impl Cluster {
    /// Reaches the API server, asks for its version, and runs for the leases until `candidates` are drained.
    pub(crate) async fn connect(
        args: &KubernetesArgs,
        tasks: &Tasks,
        candidates: &drain::Watch,
    ) -> anyhow::Result<Self> {
        let config = config(args).await?;
        let mut lease_config = config.clone();
        lease_config.connect_timeout = Some(LEASE_TIMEOUT);
        lease_config.read_timeout = Some(LEASE_TIMEOUT);
        lease_config.write_timeout = Some(LEASE_TIMEOUT);
        let client = Client::try_from(config)?;
        let version = client.apiserver_version().await;
        let version = version.context("the API server cannot be reached")?;
        tracing::info!(version = version.git_version, "connected to the API server");
        Ok(Self {
            version: (number(&version.major), number(&version.minor)),
            leads: elect(
                args,
                &Client::try_from(lease_config)?,
                &args.pod_name,
                tasks,
                candidates,
            ),
            args: args.clone(),
            client,
        })
    }

    /// Whether injected proxies are init containers that keep running.
    pub(crate) fn native_sidecars(&self) -> bool {
        match self.args.native_sidecars {
            NativeSidecars::Auto => self.version >= NATIVE_SIDECARS,
            NativeSidecars::True => true,
            NativeSidecars::False => false,
        }
    }

    /// The cluster as galley reads it.
    pub(crate) fn source(&self) -> KubeSource {
        let options = KubeOptions {
            namespace: self.args.namespace.clone(),
            revision: self.args.revision.clone(),
            mesh_config_map: self.args.mesh_config_map(),
        };
        KubeSource::new(self.client.clone(), options)
    }

    /// What writes galley's findings back.
    pub(crate) fn status_writer(&self, reports: watch::Receiver<Arc<Reports>>) -> StatusWriter {
        let leads = self.leads.mesh.clone();
        StatusWriter::new(
            self.client.clone(),
            reports,
            leads,
            self.args.pod_name.clone(),
        )
    }

    /// Starts what writes roots: into every namespace and into the webhooks.
    pub(crate) fn write_roots(&self, roots: &watch::Receiver<Arc<TrustBundle>>, tasks: &Tasks) {
        let leads = &self.leads;
        let (client, root) = (self.client.clone(), roots.clone());
        let work = move || root_config_maps::run(client.clone(), root.clone());
        tasks.spawn(
            "root-config-maps",
            endless(leader::while_leading(leads.mesh.clone(), work)),
        );
        let writer = WebhookCa::new(
            self.client.clone(),
            &self.args.namespace,
            &self.args.revision,
        );
        let (mutating, root) = (writer.clone(), roots.clone());
        let work = move || mutating.clone().run_mutating(root.clone());
        tasks.spawn(
            "injection-webhook-ca",
            endless(leader::while_leading(leads.revision.clone(), work)),
        );
        let root = roots.clone();
        let work = move || writer.clone().run_validating(root.clone());
        tasks.spawn(
            "validation-webhook-ca",
            endless(leader::while_leading(leads.revision.clone(), work)),
        );
    }
}

/// Whether this replica leads, for each lease.
#[derive(Clone, Debug)]
pub(crate) struct Leads {
    /// The writers of the whole mesh.
    pub(crate) mesh: watch::Receiver<bool>,
    /// The writers of this revision.
    pub(crate) revision: watch::Receiver<bool>,
}

/// Runs for both leases.
fn elect(
    args: &KubernetesArgs,
    client: &Client,
    identity: &str,
    tasks: &Tasks,
    candidates: &drain::Watch,
) -> Leads {
    let run = |name, lease| {
        let namespace = &args.namespace;
        let (election, leads) = Election::new(client.clone(), namespace, lease, identity);
        // The lease is given back before the process ends.
        let hold = candidates.hold();
        let drain = candidates.clone();
        tasks.spawn(name, async move {
            let ended = election.run(drain).await;
            drop(hold);
            ended
        });
        leads
    };
    Leads {
        mesh: run("mesh-election", MESH_LEASE.to_owned()),
        revision: run(
            "revision-election",
            format!("{MESH_LEASE}-{}", args.revision),
        ),
    }
}

async fn endless(work: impl Future<Output = ()>) -> Result<(), Infallible> {
    work.await;
    Ok(())
}

async fn config(args: &KubernetesArgs) -> anyhow::Result<Config> {
    let Some(path) = &args.kubeconfig else {
        return Config::incluster().context("no service account of a pod; use --kubeconfig");
    };
    let kubeconfig = Kubeconfig::read_from(path)
        .with_context(|| format!("cannot read kubeconfig \"{}\"", path.display()))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    config.with_context(|| format!("cannot use kubeconfig \"{}\"", path.display()))
}

/// Some providers append a sign to the minor version (`29+`).
fn number(text: &str) -> u32 {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    digits.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_with_their_providers_signs() {
        assert_eq!(number("29+"), 29);
        assert_eq!(number("1"), 1);
        assert_eq!(number(""), 0);
    }
}
