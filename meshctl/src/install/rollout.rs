//! The steps of an installation, each with a line that says that it is done.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use kube::Client;
use tokio::time::Instant;

use super::{
    definitions,
    helm::Helm,
    plan::{GATEWAY, Release},
    precheck::{self, Check, Verdict},
    wait,
};
use crate::{
    cluster::access::ClusterArgs,
    output::{self, Tone},
};

/// How the work is done.
#[derive(Debug, Clone, clap::Args)]
pub struct Means {
    /// The helm command, instead of the one in PATH
    #[arg(long, value_name = "PATH")]
    pub helm: Option<PathBuf>,
    /// Seconds to wait until everything is available
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub timeout: u64,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// A cluster that is worked on.
pub struct Rollout {
    /// The API server.
    pub client: Client,
    /// Helm for the same cluster.
    pub helm: Helm,
    namespace: String,
    until: Instant,
}

impl Means {
    /// The helm command for the cluster.
    pub fn helm(&self) -> Helm {
        Helm::new(self.helm.as_deref(), &self.cluster)
    }

    /// Reaches the cluster.
    pub async fn start(&self) -> Result<Rollout> {
        Ok(Rollout {
            client: self.cluster.client().await?,
            helm: self.helm(),
            namespace: self.cluster.istio_namespace.clone(),
            until: Instant::now() + Duration::from_secs(self.timeout),
        })
    }
}

impl Rollout {
    /// Looks whether the cluster is fit; true if nothing is in the way. Good news are not told.
    pub async fn precheck(&self) -> Result<bool> {
        let checks = precheck::run(&self.client, &self.helm, &self.namespace).await?;
        for check in checks.iter().filter(|check| check.verdict != Verdict::Good) {
            output::note(&line(check));
        }
        Ok(checks.iter().all(|check| check.verdict != Verdict::Bad))
    }

    /// Brings the definitions.
    pub async fn definitions(&self, base: &Release) -> Result<()> {
        let applied = definitions::apply(&self.client).await?;
        base.apply(&self.helm, &["--create-namespace", "--skip-crds"])
            .await
            .with_context(|| format!("release \"{}\"", base.name))?;
        done(&format!("{applied} definitions"));
        Ok(())
    }

    /// Brings a control plane, and waits until it works.
    pub async fn control_plane(
        &self,
        release: &Release,
        revision: &str,
        more: &[&str],
    ) -> Result<()> {
        self.release(release, more).await?;
        wait::webhook(&self.client, revision, self.until).await?;
        done(&format!("control plane \"{}\"", release.name));
        Ok(())
    }

    /// Brings the gateway, and waits until it works.
    pub async fn gateway(&self, release: &Release, more: &[&str]) -> Result<()> {
        self.release(release, more).await?;
        done(&format!("gateway \"{GATEWAY}\""));
        Ok(())
    }

    async fn release(&self, release: &Release, more: &[&str]) -> Result<()> {
        release
            .apply(&self.helm, more)
            .await
            .with_context(|| format!("release \"{}\"", release.name))?;
        wait::deployment(&self.client, &self.namespace, &release.name, self.until).await
    }
}

/// A check as a line.
pub fn line(check: &Check) -> String {
    let (tone, sign) = match check.verdict {
        Verdict::Good => (Tone::Good, "✔"),
        Verdict::Notice => (Tone::Doubtful, "!"),
        Verdict::Bad => (Tone::Bad, "✘"),
    };
    format!("{} {}", output::tone(tone, sign), check.text)
}

fn done(what: &str) {
    output::note(&line(&Check::good(what)));
}
