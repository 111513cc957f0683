//! `meshctl install`: the mesh into a cluster.

use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

use crate::{
    install::{
        charts::Charts,
        helm::{Helm, Installed},
        plan::{GATEWAY, Plan, PlanArgs},
        rollout::{Means, Rollout},
    },
    output,
};

/// Arguments of `install`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    plan: PlanArgs,
    #[command(flatten)]
    means: Means,
    /// Print the manifests and change nothing
    #[arg(long)]
    dry_run: bool,
    /// The same
    #[arg(short, long, value_enum)]
    output: Option<Manifests>,
}

/// Forms of manifests.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Manifests {
    /// Documents of YAML.
    Yaml,
}

/// Installs, and waits until everything works.
pub async fn run(args: &Args) -> Result<ExitCode> {
    let charts = Charts::unpack()?;
    let plan = args.plan.plan(&charts)?;
    if args.dry_run || args.output.is_some() {
        return print(&plan, &args.means.helm()).await;
    }
    let rollout = args.means.start().await?;
    ensure!(
        rollout.precheck().await?,
        "the cluster is not fit; nothing was changed"
    );
    let installed = rollout.helm.releases().await?;
    refuse_second(&plan, &installed)?;
    let unfit = "the values do not fit; nothing was changed";
    plan.check(&rollout.helm).await.context(unfit)?;
    rollout.definitions(&plan.base).await?;
    rollout
        .control_plane(&plan.control_plane, &args.plan.revision, &[])
        .await?;
    gateway(&rollout, &plan, &installed).await?;
    greet(&args.plan.revision)?;
    Ok(ExitCode::SUCCESS)
}

async fn print(plan: &Plan, helm: &Helm) -> Result<ExitCode> {
    for release in plan.releases() {
        output::raw(release.render(helm).await?.as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What failed half-way is gone on with.
fn refuse_second(plan: &Plan, installed: &[Installed]) -> Result<()> {
    let name = &plan.control_plane.name;
    match installed.iter().find(|one| one.name == *name) {
        Some(one) if one.status == "deployed" => bail!(
            "\"{name}\" is installed already ({}): meshctl upgrade changes it; nothing was changed",
            one.chart
        ),
        _ => Ok(()),
    }
}

/// A second revision shares the gateway of the first.
async fn gateway(rollout: &Rollout, plan: &Plan, installed: &[Installed]) -> Result<()> {
    let Some(gateway) = &plan.gateway else {
        return Ok(());
    };
    let mut installed = installed.iter();
    if installed.any(|one| one.name == GATEWAY && one.status == "deployed") {
        output::note(&format!(
            "gateway \"{GATEWAY}\" is there already and stays as it is"
        ));
        return Ok(());
    }
    rollout.gateway(gateway, &[]).await
}

fn greet(revision: &str) -> Result<()> {
    let label = match revision {
        "" => "istio-injection=enabled".to_owned(),
        revision => format!("istio.io/rev={revision}"),
    };
    output::line(&format!(
        "the mesh is installed; pods of a namespace join it after:\n  kubectl label namespace NAMESPACE {label}"
    ))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn a_second_installation_is_refused() {
        let charts = Charts::unpack().unwrap();
        let args = Line::parse_from(["install"]).args;
        let plan = args.plan.plan(&charts).unwrap();
        let with = |status: &str| {
            let installed = Installed {
                name: "istiod".into(),
                status: status.into(),
                chart: "control-plane-0.1.0".into(),
            };
            refuse_second(&plan, &[installed]).map_err(|error| error.to_string())
        };
        assert_eq!(with("failed"), Ok(()));
        assert_eq!(
            with("deployed"),
            Err("\"istiod\" is installed already (control-plane-0.1.0): meshctl upgrade changes it; nothing was changed".into())
        );
    }
}
