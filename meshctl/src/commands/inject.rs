//! `meshctl inject`: the webhook's work on a manifest, with the settings of a cluster, of files or by default.

mod settings;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use injector::InjectorConfig;
use injector::policy::Namespace;

use super::{findings, validate};
use crate::cluster::Access;
use crate::install::plan::revision;
use crate::output::{self, Format};

/// Arguments of `inject`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The manifest; - is standard input
    #[arg(short, long = "filename", value_name = "FILE")]
    file: PathBuf,
    /// Namespace of objects that name none
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t = Format::Yaml)]
    output: Format,
    /// Revision of the control plane
    #[arg(long, value_name = "NAME", default_value = "", value_parser = revision)]
    revision: String,
    /// A MeshConfig, instead of the cluster's
    #[arg(
        long = "mesh-config-file",
        alias = "meshConfigFile",
        value_name = "FILE"
    )]
    mesh_config: Option<PathBuf>,
    /// Values of the control plane's chart, instead of the cluster's
    #[arg(long = "values-file", alias = "valuesFile", value_name = "FILE")]
    values: Option<PathBuf>,
    /// Use the defaults, and ask no cluster
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    access: Access,
}

/// Prints the manifest with sidecars in it.
///
/// # Errors
/// The manifest cannot be read, or asks for something that cannot be done.
pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let text = validate::read(&args.file)?;
    let (documents, findings) = galley::manifest::parse(&args.file.to_string_lossy(), &text);
    if findings::has_errors(&findings) {
        findings::print(Format::Table, &findings)?;
        return Ok(ExitCode::FAILURE);
    }
    let config = config(args).await?;
    // Whoever calls for injection wants it: the namespace says yes, a pod may still say no.
    let labels = BTreeMap::from([("istio-injection".to_owned(), "enabled".to_owned())]);
    let namespace = Namespace {
        name: args.namespace.clone(),
        labels: Some(labels),
    };
    let mut objects = Vec::with_capacity(documents.len());
    for document in &documents {
        let injected = injector::inject_object(&document.json(), &namespace, &config)
            .with_context(|| {
                format!(
                    "{}: {} {}",
                    document.origin(),
                    document.kind(),
                    document.name()
                )
            })?;
        for warning in injected.warnings {
            output::note(&format!("warning: {warning}"));
        }
        objects.push(injected.object);
    }
    match args.output {
        Format::Json => output::structured(Format::Json, &objects)?,
        Format::Yaml | Format::Table => {
            for object in &objects {
                output::line("---")?;
                output::structured(Format::Yaml, object)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn config(args: &Args) -> anyhow::Result<InjectorConfig> {
    let has_files = args.mesh_config.is_some() || args.values.is_some();
    if has_files || args.offline {
        return settings::of_files(args.mesh_config.as_deref(), args.values.as_deref());
    }
    match args.access.open_kubernetes().await? {
        Some(cluster) => settings::of_cluster(&cluster, &args.revision)
            .await
            .context("the settings of the cluster cannot be read; --offline takes the defaults"),
        None => Ok(InjectorConfig::default()),
    }
}
