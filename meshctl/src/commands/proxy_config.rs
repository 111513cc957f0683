//! `meshctl proxy-config`: what a proxy has in force, from its own admin port. Works for both data planes, because
//! both answer in Envoy's JSON.

mod clusters;
mod dump;
mod endpoints;
mod listeners;
mod routes;
mod secrets;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::ValueEnum;
use dump::Dump;

use crate::{
    cluster::{Access, Cluster},
    output::{self, Format},
};

/// Arguments of `proxy-config`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to show
    #[arg(value_enum)]
    part: Part,
    /// POD, POD.NAMESPACE or NAMESPACE/POD; the beginning of a name is enough if only one pod has it
    pod: String,
    /// Namespace of the pod
    #[arg(short, long)]
    namespace: Option<String>,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    access: Access,
}

/// Parts of a proxy's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Listeners and their filter chains
    #[value(alias = "listener", alias = "l")]
    Listeners,
    /// Route configurations, virtual hosts and routes
    #[value(alias = "route", alias = "r")]
    Routes,
    /// Clusters
    #[value(alias = "cluster", alias = "c")]
    Clusters,
    /// Endpoints of clusters
    #[value(alias = "endpoint", alias = "ep")]
    Endpoints,
    /// Certificates
    #[value(alias = "secret", alias = "s")]
    Secrets,
    /// Everything
    All,
}

/// Prints a part of a proxy's configuration.
pub async fn run(args: &Args) -> Result<ExitCode> {
    let cluster = args.access.open().await?;
    let name = match &args.namespace {
        Some(namespace) => format!("{namespace}/{}", args.pod),
        None => args.pod.clone(),
    };
    let pod = cluster.find_pod(&name).await?;
    let asked = async |path: &'static str| {
        let answer = cluster.admin(&pod, path).await;
        answer.with_context(|| format!("the proxy of pod \"{}\" cannot be asked", pod.name))
    };
    if args.part == Part::Secrets {
        return secrets::print(args.output, &asked("/certs").await?);
    }
    let dump = Dump::new(asked("/config_dump?include_eds").await?);
    if args.part == Part::All && args.output != Format::Table {
        output::structured(args.output, dump.value())?;
        return Ok(ExitCode::SUCCESS);
    }
    let parts = match args.part {
        Part::All => vec![
            Part::Listeners,
            Part::Routes,
            Part::Clusters,
            Part::Endpoints,
        ],
        part => vec![part],
    };
    for (position, part) in parts.iter().enumerate() {
        if position > 0 {
            output::line("")?;
        }
        print(&dump, *part, args.output)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(dump: &Dump, part: Part, format: Format) -> Result<()> {
    let resources = match part {
        Part::Listeners => dump.listeners(),
        Part::Routes => dump.routes(),
        Part::Clusters => dump.clusters(),
        Part::Endpoints | Part::Secrets | Part::All => dump.endpoints(),
    };
    if format != Format::Table {
        return output::structured(format, &resources);
    }
    let resources = resources.iter();
    let text = match part {
        Part::Listeners => output::table(
            &listeners::HEADING,
            resources.flat_map(|one| listeners::rows(one)).collect(),
        ),
        Part::Routes => output::table(
            &routes::HEADING,
            resources.flat_map(|one| routes::rows(one)).collect(),
        ),
        Part::Clusters => output::table(
            &clusters::HEADING,
            resources.map(|one| clusters::row(one)).collect(),
        ),
        Part::Endpoints | Part::Secrets | Part::All => output::table(
            &endpoints::HEADING,
            resources.flat_map(|one| endpoints::rows(one)).collect(),
        ),
    };
    output::line(&text)
}
