//! `meshctl upgrade`: a newer control plane, in place or beside the old one.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::{
    install::{
        charts::Charts,
        helm::Installed,
        plan::{GATEWAY, Plan, PlanArgs, control_plane},
        rollout::{Means, Rollout},
    },
    output,
};

/// What was set before holds on, over the new charts' defaults.
const KEEP_VALUES: &str = "--reset-then-reuse-values";

/// Arguments of `upgrade`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    plan: PlanArgs,
    #[command(flatten)]
    means: Means,
}

/// Upgrades, and waits until everything works.
pub async fn run(args: &Args) -> Result<ExitCode> {
    let charts = Charts::unpack()?;
    let rollout = args.means.start().await?;
    ensure!(
        rollout.precheck().await?,
        "the cluster is not fit; nothing was changed"
    );
    let installed = rollout.helm.releases().await?;
    let has = |name: &str| installed.iter().any(|one| one.name == name);
    let mut plan = args.plan.plan(&charts)?;
    let is_new = !has(&plan.control_plane.name);
    let default = control_plane("");
    ensure!(
        !is_new || has(&default),
        "\"{}\" is not installed: meshctl install does that",
        plan.control_plane.name
    );
    let unfit = "the values do not fit; nothing was changed";
    plan.check(&rollout.helm).await.context(unfit)?;
    rollout.definitions(&plan.base).await?;
    let revision = &args.plan.revision;
    if is_new {
        inherit(&rollout, &mut plan, &charts).await?;
        rollout
            .control_plane(&plan.control_plane, revision, &[])
            .await?;
    } else {
        rollout
            .control_plane(&plan.control_plane, revision, &[KEEP_VALUES])
            .await?;
        gateway(&rollout, &plan, &installed).await?;
    }
    advise(revision, is_new)?;
    Ok(ExitCode::SUCCESS)
}

/// A new revision begins with the values of the default control plane.
async fn inherit(rollout: &Rollout, plan: &mut Plan, charts: &Charts) -> Result<()> {
    let default = control_plane("");
    let values = rollout
        .helm
        .run(&["get", "values", default.as_str(), "--output", "json"])
        .await?;
    let file = charts.dir().join("inherited.json");
    std::fs::write(&file, values)?;
    let inherited = ["--values".into(), file.into_os_string()];
    plan.control_plane.values.splice(0..0, inherited);
    Ok(())
}

async fn gateway(rollout: &Rollout, plan: &Plan, installed: &[Installed]) -> Result<()> {
    let is_installed = installed.iter().any(|one| one.name == GATEWAY);
    match plan.gateway.as_ref().filter(|_| is_installed) {
        Some(gateway) => rollout.gateway(gateway, &[KEEP_VALUES]).await,
        None => Ok(()),
    }
}

fn advise(revision: &str, is_new: bool) -> Result<()> {
    output::line(&match is_new {
        false => "upgraded; pods get the new proxy when they are restarted:\n  kubectl -n NAMESPACE rollout restart \
                  deployment"
            .to_owned(),
        true => format!(
            "revision \"{revision}\" runs beside the others; move a namespace to it, or back, with its label and a \
             restart:\n  kubectl label namespace NAMESPACE istio-injection- istio.io/rev={revision} --overwrite\n  \
             kubectl -n NAMESPACE rollout restart deployment"
        ),
    })
}
