//! The mesh configuration, read as the control plane reads it.

use std::fs;

use anyhow::{Result, ensure};
use mesh_api::{diagnostic::Severity, mesh_config::MeshConfig};
use serde_json::{Value, json};

/// The key under which its ConfigMap holds it.
pub const KEY: &str = "mesh";

/// The settings that `text` describes.
///
/// # Errors
/// Everything that the control plane would refuse, one fault a line; fields are named from `root` on.
pub fn read(text: &str, root: &str, root_namespace: &str) -> Result<MeshConfig> {
    check(text, root)?;
    let default = MeshConfig {
        root_namespace: root_namespace.into(),
        ..MeshConfig::default()
    };
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("mesh.json");
    fs::write(&file, manifest(text, root_namespace).to_string())?;
    let (snapshot, _) = galley::load(&[file], default);
    Ok(MeshConfig::clone(&snapshot.mesh))
}

/// Refuses what the control plane would refuse, as [`read`] does.
///
/// # Errors
/// As of [`read`].
pub fn check(text: &str, root: &str) -> Result<()> {
    let root_namespace = MeshConfig::default().root_namespace;
    let map = manifest(text, &root_namespace).to_string();
    let (documents, _) = galley::manifest::parse("", &map);
    let faults: Vec<String> = galley::check_documents(documents)
        .into_iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| {
            let field = finding.field.replacen("data.mesh", root, 1);
            let suggestion = finding.suggestion;
            let suggestion = suggestion.map_or_else(String::new, |text| format!(" ({text})"));
            format!("{field}: {}{suggestion}", finding.message)
        })
        .collect();
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

/// A ConfigMap with the settings alone.
fn manifest(text: &str, root_namespace: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "istio", "namespace": root_namespace},
        "data": {KEY: text},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_told_with_its_field() {
        let refused = |text: &str| read(text, "meshConfig", "mesh").unwrap_err().to_string();
        assert_eq!(
            refused("accesLogFile: a\ndefaultConfig: {concurrency: many}"),
            "meshConfig.accesLogFile: unknown field \"accesLogFile\" (did you mean \"accessLogFile\"?)\n\
             meshConfig.defaultConfig.concurrency: expected a number, found a string (\"many\")"
        );
        assert!(refused("{").starts_with("meshConfig: "));
    }

    #[test]
    fn settings_stand_on_the_defaults() {
        let default = MeshConfig {
            root_namespace: "mesh".into(),
            ..MeshConfig::default()
        };
        assert_eq!(read("", "meshConfig", "mesh").unwrap(), default);
        let expected = MeshConfig {
            trust_domain: "example.org".parse().unwrap(),
            ..default
        };
        let found = read("trustDomain: example.org", "meshConfig", "mesh").unwrap();
        assert_eq!(found, expected);
    }
}
