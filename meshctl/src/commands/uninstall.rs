//! `meshctl uninstall`: the mesh out of a cluster.

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

use anyhow::{Result, bail};

use crate::{
    install::{
        helm::Installed,
        plan::{control_plane, revision},
        precheck::Check,
        purge,
        rollout::{Means, Rollout, line},
        tag,
        users::Users,
    },
    output,
};

/// Our charts, in the order of their removal.
const CHARTS: [&str; 4] = ["gateway", "control-plane", "cni", "base"];

/// Arguments of `uninstall`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this revision's control plane
    #[arg(long, value_name = "NAME", value_parser = revision, conflicts_with = "purge")]
    revision: Option<String>,
    /// Also the definitions with every object of their kinds, the certificate authority and its roots in all namespaces
    #[arg(long)]
    purge: bool,
    /// Also a revision that pods, namespaces or tags use
    #[arg(long, requires = "revision")]
    force: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    means: Means,
}

/// Uninstalls.
pub async fn run(args: &Args) -> Result<ExitCode> {
    let rollout = args.means.start().await?;
    let releases = choose(rollout.helm.releases().await?, args.revision.as_deref());
    if releases.is_empty() && !args.purge {
        bail!("nothing is installed");
    }
    if let Some(revision) = args.revision.as_deref().filter(|_| !args.force) {
        refuse_in_use(&rollout, revision).await?;
    }
    if !args.yes {
        confirm(args, &releases)?;
    }
    tag::remove_all(&rollout.client, args.revision.as_deref()).await?;
    for release in &releases {
        rollout
            .helm
            .run(&["uninstall", release.name.as_str(), "--wait"])
            .await?;
        output::note(&line(&Check::good(format!(
            "release \"{}\" is gone",
            release.name
        ))));
    }
    if args.purge {
        purge(&rollout, args).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Its proxies would never get another certificate, and new pods of its namespaces none at all.
async fn refuse_in_use(rollout: &Rollout, revision: &str) -> Result<()> {
    let users = Users::find(&rollout.client, revision).await?;
    if let Some(users) = users.describe() {
        let shown = tag::shown(revision);
        bail!(
            "revision \"{shown}\" is in use: {users}\nmove them to another revision first, or use --force; \
             nothing was changed"
        );
    }
    Ok(())
}

fn choose(installed: Vec<Installed>, revision: Option<&str>) -> Vec<Installed> {
    if let Some(revision) = revision {
        let name = control_plane(revision);
        return installed
            .into_iter()
            .filter(|one| one.name == name)
            .collect();
    }
    let position = |one: &Installed| {
        let chart = one.chart.rsplit_once('-').map(|(name, _)| name);
        CHARTS.iter().position(|ours| Some(*ours) == chart)
    };
    let mut ours: Vec<Installed> = installed
        .into_iter()
        .filter(|one| position(one).is_some())
        .collect();
    ours.sort_by_key(position);
    ours
}

fn confirm(args: &Args, releases: &[Installed]) -> Result<()> {
    let names: Vec<&str> = releases.iter().map(|one| &*one.name).collect();
    output::note(&format!("to be removed: {}", names.join(", ")));
    if args.purge {
        output::note(
            "and the definitions, with every VirtualService, Gateway, policy and the like in all namespaces",
        );
    }
    if !io::stdin().is_terminal() {
        bail!("nobody can be asked here: --yes removes it without; nothing was changed");
    }
    output::note("proceed? [y/N]");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    if !matches!(answer.trim(), "y" | "Y" | "yes") {
        bail!("nothing was changed");
    }
    Ok(())
}

async fn purge(rollout: &Rollout, args: &Args) -> Result<()> {
    let removed = purge::run(&rollout.client, &args.means.cluster.istio_namespace).await?;
    for text in removed {
        output::note(&line(&Check::good(text)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(name: &str, chart: &str) -> Installed {
        Installed {
            name: name.into(),
            status: "deployed".into(),
            chart: chart.into(),
        }
    }

    #[test]
    fn our_releases_go_in_order_and_others_stay() {
        let installed = vec![
            release("istio-base", "base-0.1.0"),
            release("istio-cni", "cni-0.1.0"),
            release("kiali", "kiali-server-2.0.0"),
            release("istiod", "control-plane-0.1.0"),
            release("istiod-canary", "control-plane-0.1.0"),
            release("istio-ingressgateway", "gateway-0.1.0"),
        ];
        let names = |revision| {
            let chosen = choose(installed.clone(), revision);
            chosen.into_iter().map(|one| one.name).collect::<Vec<_>>()
        };
        let all = [
            "istio-ingressgateway",
            "istiod",
            "istiod-canary",
            "istio-cni",
            "istio-base",
        ];
        assert_eq!(names(None), all);
        assert_eq!(names(Some("canary")), ["istiod-canary"]);
    }
}
