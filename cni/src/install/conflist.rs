//! The configuration of the node's network: which file it is, and the plugin's entry in it.
//!
//! Everything in the file that is not ours stays.

use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::Context as _;
use cni_plugin::TYPE;
use cni_plugin::config::{Settings, VERSIONS};
use serde_json::{Map, Value, json};
use thiserror::Error;

/// What a list is called that a single configuration becomes a part of, if it has no name; the version that
/// introduced lists. Both are Istio's choice.
const NAME: &str = "k8s-pod-network";
const FIRST_VERSION_WITH_LISTS: &str = "0.3.1";

/// Why a file cannot be joined.
#[derive(Debug, Error)]
pub enum ConflistError {
    /// It is not JSON.
    #[error("it is not JSON")]
    Json(#[from] serde_json::Error),
    /// It is not a network.
    #[error("it has neither \"plugins\" nor \"type\"")]
    NoNetwork,
}

/// The file that is joined: `wanted`, or the first network in the order in which runtimes look for one.
pub(super) fn primary(directory: &Path, wanted: Option<&str>) -> anyhow::Result<Option<PathBuf>> {
    if let Some(wanted) = wanted {
        // Joined once before, a single configuration has become a list.
        let path = directory.join(wanted);
        let candidates = [path.with_extension("conflist"), path];
        return Ok(candidates.into_iter().find(|path| is_network(path)));
    }
    Ok(files(directory)?.into_iter().find(|path| is_network(path)))
}

/// Files that runtimes look at, in their order.
pub(super) fn files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.path()));
        entries.collect()
    };
    let mut files = list().with_context(|| format!("cannot read \"{}\"", directory.display()))?;
    files.retain(|path| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("conf" | "conflist" | "json"))
    });
    files.sort();
    Ok(files)
}

fn is_network(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| plugins(&text).is_ok())
}

/// The list with the plugin in it, or `None` if it is there as it should be.
pub(super) fn chain(text: &str, settings: &Settings) -> Result<Option<String>, ConflistError> {
    let (mut list, mut plugins) = plugins(text)?;
    let mut entry = json!({"type": TYPE});
    if let (Some(entry), Value::Object(settings)) = (entry.as_object_mut(), json!(settings)) {
        entry.extend(settings);
    }
    match plugins.iter_mut().find(|plugin| is_ours(plugin)) {
        Some(found) if *found == entry => return Ok(None),
        Some(found) => *found = entry,
        None => plugins.push(entry),
    }
    list.insert("plugins".to_owned(), Value::Array(plugins));
    Ok(Some(pretty(&list)))
}

/// The list without the plugin, or `None` if it is not there.
pub(super) fn unchain(text: &str) -> Result<Option<String>, ConflistError> {
    let (mut list, mut plugins) = plugins(text)?;
    let before = plugins.len();
    plugins.retain(|plugin| !is_ours(plugin));
    if plugins.len() == before {
        return Ok(None);
    }
    list.insert("plugins".to_owned(), Value::Array(plugins));
    Ok(Some(pretty(&list)))
}

/// The list and its plugins; a single configuration is a list of one.
fn plugins(text: &str) -> Result<(Map<String, Value>, Vec<Value>), ConflistError> {
    let mut network: Map<String, Value> = serde_json::from_str(text)?;
    match network.remove("plugins") {
        Some(Value::Array(plugins)) if !plugins.is_empty() => Ok((network, plugins)),
        None if network.get("type").is_some_and(Value::is_string) => {
            let mut list = Map::new();
            let version = network.remove("cniVersion");
            let version = version.filter(|found| VERSIONS.iter().any(|known| found == known));
            let version = version.unwrap_or_else(|| FIRST_VERSION_WITH_LISTS.into());
            list.insert("cniVersion".to_owned(), version);
            let name = network.remove("name").unwrap_or_else(|| NAME.into());
            list.insert("name".to_owned(), name);
            Ok((list, vec![Value::Object(network)]))
        }
        _ => Err(ConflistError::NoNetwork),
    }
}

fn is_ours(plugin: &Value) -> bool {
    plugin["type"] == TYPE
}

fn pretty(list: &Map<String, Value>) -> String {
    let mut text = serde_json::to_string_pretty(list).expect("JSON was read");
    text.push('\n');
    text
}
