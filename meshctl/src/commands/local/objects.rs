//! `apply`, `delete`, `get` and `restart`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};
use local::{
    api::{ApplyRequest, GetRequest, RestartRequest},
    client::Client,
    controller::{Change, Outcome},
    manifest,
};
use mesh_api::diagnostic::Severity;
use serde_json::{Value, json};

use crate::{
    commands::{findings, validate},
    output::{self, Format},
};

#[derive(Debug, clap::Args)]
pub(super) struct ApplyArgs {
    /// Files or directories; - is standard input
    #[arg(short, long = "filename", required = true, value_name = "PATH")]
    file: Vec<PathBuf>,
    /// Namespace of objects that name none
    #[arg(short, long, default_value = "default")]
    namespace: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct DeleteArgs {
    #[command(flatten)]
    what: ApplyArgs,
    /// What is not there is no error
    #[arg(long)]
    ignore_not_found: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct GetArgs {
    /// Kind, singular or plural: pods, services, virtualservices ...
    kind: String,
    /// Name; all without it
    object: Option<String>,
    /// Namespace; all without it
    #[arg(short, long)]
    namespace: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, clap::Args)]
pub(super) struct RestartArgs {
    /// KIND/NAME, such as deployment/reviews-v1
    workload: String,
    /// Namespace
    #[arg(short, long, default_value = "default")]
    namespace: String,
}

/// Reads all manifests; nothing is sent if one is refused.
fn read(args: &ApplyArgs, check: bool) -> Result<Option<Vec<ApplyRequest>>> {
    let mut texts = Vec::new();
    for path in &args.file {
        if path.as_os_str() == "-" {
            texts.push(("stdin".to_owned(), validate::read(path)?));
            continue;
        }
        let files = manifest::manifest_files(path)
            .with_context(|| format!("cannot read \"{}\"", path.display()))?;
        for file in files {
            let text = validate::read(&file)?;
            texts.push((file.display().to_string(), text));
        }
    }
    if check {
        let mut found: Vec<_> = texts
            .iter()
            .flat_map(|(file, text)| validate::check_text(file, text))
            .collect();
        found.retain(|diagnostic| diagnostic.severity > Severity::Info);
        for finding in &found {
            output::note(&output::finding(finding));
        }
        if findings::has_errors(&found) {
            return Ok(None);
        }
    }
    let request = |(file, text)| ApplyRequest {
        text,
        file,
        namespace: args.namespace.clone(),
    };
    Ok(Some(texts.into_iter().map(request).collect()))
}

pub(super) async fn apply(args: &ApplyArgs, client: &Client) -> Result<ExitCode> {
    let Some(requests) = read(args, true)? else {
        return Ok(ExitCode::FAILURE);
    };
    for request in &requests {
        for change in client.apply(request).await? {
            output::line(&describe(&change))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn delete(args: &DeleteArgs, client: &Client) -> Result<ExitCode> {
    let requests = read(&args.what, false)?.unwrap_or_default();
    let mut complete = true;
    for request in &requests {
        for change in client.delete(request).await? {
            let missing = change.outcome == Outcome::NotFound;
            if missing && args.ignore_not_found {
                continue;
            }
            complete &= change.outcome == Outcome::Deleted;
            output::line(&describe(&change))?;
        }
    }
    Ok(if complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn describe(change: &Change) -> String {
    let outcome = match &change.outcome {
        Outcome::Created => "created".to_owned(),
        Outcome::Configured => "configured".to_owned(),
        Outcome::Unchanged => "unchanged".to_owned(),
        Outcome::Deleted => "deleted".to_owned(),
        Outcome::NotFound => "not found".to_owned(),
        Outcome::InDirectory(file) => format!("comes from \"{file}\": remove it there"),
    };
    format!("{} {outcome}", change.key)
}

pub(super) async fn get(args: &GetArgs, client: &Client) -> Result<ExitCode> {
    if is_pods(&args.kind) && args.output == Format::Table {
        let mut status = client.status().await?;
        let wanted = |namespace: &str, name: &str| {
            args.namespace
                .as_ref()
                .is_none_or(|wanted| wanted == namespace)
                && args.object.as_ref().is_none_or(|wanted| wanted == name)
        };
        status.pods.retain(|pod| wanted(&pod.namespace, &pod.name));
        output::line(&super::table::pods(&status.pods))?;
        for reason in super::table::reasons(&status.pods) {
            output::note(&reason);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let request = GetRequest {
        kind: args.kind.clone(),
        name: args.object.clone(),
        namespace: args.namespace.clone(),
    };
    let items = client.get(&request).await?;
    match (args.output, &args.object, items.as_slice()) {
        (_, Some(name), []) => bail!("no {} \"{name}\"", args.kind),
        (Format::Table, _, items) => output::line(&table(items))?,
        (format, Some(_), [only]) => output::structured(format, only)?,
        (format, _, items) => output::structured(
            format,
            &json!({"apiVersion": "v1", "kind": "List", "items": items}),
        )?,
    }
    Ok(ExitCode::SUCCESS)
}

fn is_pods(kind: &str) -> bool {
    ["po", "pod", "pods"].contains(&kind.to_lowercase().as_str())
}

fn table(items: &[Value]) -> String {
    let text = |item: &Value, pointer: &str| {
        item.pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let services = items.first().is_some_and(|item| item["kind"] == "Service");
    let row = |item: &Value| {
        let mut row = vec![
            text(item, "/metadata/namespace"),
            text(item, "/metadata/name"),
        ];
        if services {
            row.extend([text(item, "/spec/clusterIP"), ports(item)]);
        }
        row
    };
    let header: &[&str] = if services {
        &["NAMESPACE", "NAME", "CLUSTER-IP", "PORTS"]
    } else {
        &["NAMESPACE", "NAME"]
    };
    output::table(header, items.iter().map(row).collect())
}

fn ports(service: &Value) -> String {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array);
    let port = |port: &Value| {
        format!(
            "{}/{}",
            port["port"],
            port["protocol"].as_str().unwrap_or("TCP")
        )
    };
    ports
        .into_iter()
        .flatten()
        .map(port)
        .collect::<Vec<_>>()
        .join(",")
}

pub(super) async fn restart(args: &RestartArgs, client: &Client) -> Result<ExitCode> {
    let (kind, name) = args
        .workload
        .split_once('/')
        .context("name a workload as KIND/NAME, such as deployment/reviews-v1")?;
    let request = RestartRequest {
        kind: kind.to_owned(),
        name: name.to_owned(),
        namespace: args.namespace.clone(),
    };
    client.restart(&request).await?;
    output::line(&format!("{} restarted", args.workload))?;
    Ok(ExitCode::SUCCESS)
}
