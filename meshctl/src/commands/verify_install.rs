//! `meshctl verify-install`: whether everything that was installed is there and works.

use std::process::ExitCode;

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Client, ResourceExt, api::ListParams};

use crate::{
    cluster::access::ClusterArgs,
    install::{
        definitions::{self, State},
        failure,
        precheck::{Check, Verdict},
        rollout::line,
        wait,
    },
    output,
};

/// The parts that are looked at.
const OURS: &str = "app.kubernetes.io/part-of=weft";

/// Arguments of `verify-install`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Prints what was looked at; exit code 1 if something is not as it should be.
pub async fn run(args: &Args) -> Result<ExitCode> {
    let client = args.cluster.client().await?;
    let mut checks = vec![definitions(&client).await?];
    checks.extend(deployments(&client, &args.cluster.istio_namespace).await?);
    for check in &checks {
        output::line(&line(check))?;
    }
    let is_good = checks.iter().all(|check| check.verdict != Verdict::Bad);
    Ok(match is_good {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

async fn definitions(client: &Client) -> Result<Check> {
    let found = definitions::find(client).await?;
    let lacking = found
        .iter()
        .filter(|one| matches!(one.state, State::Missing | State::Incomplete));
    let lacking: Vec<&str> = lacking.map(|one| &*one.name).collect();
    Ok(match lacking.as_slice() {
        [] => Check::good(format!("{} definitions", found.len())),
        lacking => Check::bad(format!(
            "definitions are missing or too old: {}",
            lacking.join(", ")
        )),
    })
}

async fn deployments(client: &Client, namespace: &str) -> Result<Vec<Check>> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let found = api.list(&ListParams::default().labels(OURS)).await;
    let found = found.context("deployments cannot be listed")?.items;
    let is_control_plane =
        |one: &&Deployment| one.labels().get("app").is_some_and(|app| app == "istiod");
    let mut checks = Vec::new();
    if found.iter().find(is_control_plane).is_none() {
        checks.push(Check::bad(format!(
            "there is no control plane in namespace \"{namespace}\""
        )));
    }
    for one in &found {
        let name = one.name_any();
        checks.push(match wait::is_available(one) {
            true => Check::good(format!("deployment \"{name}\" is available")),
            false => {
                let reasons = failure::explain(client, one).await;
                Check::bad(format!(
                    "deployment \"{name}\" is not available:\n{reasons}"
                ))
            }
        });
    }
    for one in found.iter().filter(is_control_plane) {
        checks.push(webhooks(client, one).await?);
    }
    Ok(checks)
}

async fn webhooks(client: &Client, control_plane: &Deployment) -> Result<Check> {
    let revision = control_plane.labels().get("istio.io/rev");
    let revision = revision.map(String::as_str).unwrap_or("default");
    let webhooks = wait::injection_webhooks(client, revision).await?;
    let callable = !webhooks.is_empty() && webhooks.iter().all(wait::has_ca_bundle);
    Ok(match callable {
        true => Check::good(format!("injection of revision \"{revision}\"")),
        false => Check::bad(format!(
            "pods of revision \"{revision}\" cannot be injected: its webhook is missing or lacks a root certificate"
        )),
    })
}
