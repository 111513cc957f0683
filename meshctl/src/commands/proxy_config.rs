//! `meshctl proxy-config`: what a proxy has in force, from its own admin port. Works for both data planes, because
//! both answer in Envoy's JSON.

use std::process::ExitCode;

use anyhow::Context;
use serde_json::Value;

use crate::cli::{Part, ProxyConfig};
use crate::cluster::{Cluster, Pod};
use crate::output::{self, Format};

mod clusters;
mod dump;
mod endpoints;
mod listeners;
mod routes;
mod secrets;

use dump::Dump;

/// Prints a part of a proxy's configuration.
///
/// # Errors
/// The proxy cannot be asked.
pub async fn run(args: ProxyConfig) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::open(&args.mesh);
    let pod = Pod::parse(&args.pod, args.namespace.as_deref());
    let asked = |path: &'static str| {
        let (cluster, pod) = (&cluster, &pod);
        async move {
            let text = cluster
                .admin(pod, path)
                .await
                .with_context(|| format!("the proxy of {pod} cannot be asked"))?;
            serde_json::from_str::<Value>(&text).context("the proxy's answer")
        }
    };
    if args.part == Part::Secrets {
        let certificates = asked("/certs").await?;
        return secrets::print(args.output, &certificates);
    }
    let dump = Dump::new(asked("/config_dump?include_eds").await?);
    if args.part == Part::All && args.output != Format::Table {
        output::document(args.output, dump.value())?;
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
            output::line("");
        }
        print(&dump, *part, args.output)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(dump: &Dump, part: Part, format: Format) -> anyhow::Result<()> {
    let resources = match part {
        Part::Listeners => dump.listeners(),
        Part::Routes => dump.routes(),
        Part::Clusters => dump.clusters(),
        Part::Endpoints | Part::Secrets | Part::All => dump.endpoints(),
    };
    if format != Format::Table {
        return output::document(format, &resources);
    }
    match part {
        Part::Listeners => output::table(
            &listeners::HEADING,
            resources.iter().flat_map(|one| listeners::rows(one)),
        ),
        Part::Routes => output::table(
            &routes::HEADING,
            resources.iter().flat_map(|one| routes::rows(one)),
        ),
        Part::Clusters => output::table(
            &clusters::HEADING,
            resources.iter().map(|one| clusters::row(one)),
        ),
        Part::Endpoints | Part::Secrets | Part::All => {
            output::table(
                &endpoints::HEADING,
                resources.iter().flat_map(|one| endpoints::rows(one)),
            );
        }
    }
    Ok(())
}
