//! `meshctl inject`: the webhook's work on a manifest, without a cluster.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use injector::InjectorConfig;
use injector::policy::Namespace;

use super::findings;
use crate::cli::Inject;
use crate::output::{self, Format};

/// Prints the manifest with sidecars in it.
///
/// # Errors
/// The manifest cannot be read, or asks for something that cannot be done.
pub fn run(args: &Inject) -> anyhow::Result<ExitCode> {
    let text = read(&args.file)?;
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
            output::note(format!("warning: {warning}"));
        }
        objects.push(injected.object);
    }
    match args.output {
        Format::Json => output::document(Format::Json, &objects)?,
        Format::Yaml | Format::Table => {
            for object in &objects {
                output::line("---");
                output::document(Format::Yaml, object)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> anyhow::Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(path).with_context(|| format!("cannot read \"{}\"", path.display()))
}
