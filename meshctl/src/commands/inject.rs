//! `meshctl inject`: the same injection as the webhook's, on files.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use injector::{config::InjectorConfig, object::inject_object, policy::Namespace};
use serde_json::Value;

use super::validate::read_stdin;
use crate::output;

/// Arguments of `inject`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// File with manifests; - is standard input
    #[arg(short, long = "filename", value_name = "FILE")]
    file: PathBuf,
    /// Namespace of objects that name none
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Image of the proxy
    #[arg(long)]
    image: Option<String>,
    /// Make the proxy an init container that keeps running
    #[arg(long)]
    native_sidecar: bool,
}

/// Prints the manifests with sidecars.
pub async fn run(args: &Args) -> Result<ExitCode> {
    let text = if args.file.as_os_str() == "-" {
        read_stdin()?
    } else {
        std::fs::read_to_string(&args.file)
            .with_context(|| format!("cannot read \"{}\"", args.file.display()))?
    };
    let mut config = InjectorConfig {
        native_sidecar: args.native_sidecar,
        ..InjectorConfig::default()
    };
    if let Some(image) = &args.image {
        config.image.clone_from(image);
    }
    let namespace = Namespace {
        name: args.namespace.clone(),
        labels: None,
    };
    let documents = local::manifest::parse(&text, &args.file, "default");
    if let Some(error) = documents.errors.first() {
        return Err(error.clone().into());
    }
    let mut first = true;
    for document in documents.objects {
        if !std::mem::take(&mut first) {
            output::line("---")?;
        }
        let injected = inject_object(&document.value, &namespace, &config)
            .with_context(|| document.key.to_string())?;
        for warning in injected.warnings {
            output::note(&format!("{}: {warning}", document.key));
        }
        // What was not touched keeps its comments and order.
        if injected.object == document.value {
            output::raw(document.text.as_bytes())?;
        } else {
            output::structured(output::Format::Yaml, &without_nulls(injected.object))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Objects as people write them have no null fields.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}
