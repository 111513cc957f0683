//! `meshctl inject`: the webhook's work on a manifest, without a cluster.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use injector::InjectorConfig;
use injector::policy::Namespace;

use super::{findings, validate};
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
}

/// Prints the manifest with sidecars in it.
///
/// # Errors
/// The manifest cannot be read, or asks for something that cannot be done.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let text = validate::read(&args.file)?;
    let (documents, findings) = galley::manifest::parse(&args.file.to_string_lossy(), &text);
    if findings::has_errors(&findings) {
        findings::print(Format::Table, &findings)?;
        return Ok(ExitCode::FAILURE);
    }
    // Whoever calls for injection wants it: the namespace says yes, a pod may still say no.
    let labels = BTreeMap::from([("istio-injection".to_owned(), "enabled".to_owned())]);
    let namespace = Namespace {
        name: args.namespace.clone(),
        labels: Some(labels),
    };
    let config = InjectorConfig::default();
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
