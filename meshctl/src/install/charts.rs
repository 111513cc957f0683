//! The Helm charts, as files of this program.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// Embeds files below the repository's `charts`.
macro_rules! embed {
    ($($path:literal,)*) => {
        &[$(($path, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/", $path))),)*]
    };
}

/// Path below `charts`, and content; a test compares the list with the directory.
const FILES: &[(&str, &str)] = embed![
    "base/Chart.yaml",
    "base/crds/authorizationpolicies.security.istio.io.yaml",
    "base/crds/destinationrules.networking.istio.io.yaml",
    "base/crds/envoyfilters.networking.istio.io.yaml",
    "base/crds/gateways.networking.istio.io.yaml",
    "base/crds/peerauthentications.security.istio.io.yaml",
    "base/crds/proxyconfigs.networking.istio.io.yaml",
    "base/crds/requestauthentications.security.istio.io.yaml",
    "base/crds/serviceentries.networking.istio.io.yaml",
    "base/crds/sidecars.networking.istio.io.yaml",
    "base/crds/telemetries.telemetry.istio.io.yaml",
    "base/crds/trafficextensions.extensions.istio.io.yaml",
    "base/crds/virtualservices.networking.istio.io.yaml",
    "base/crds/wasmplugins.extensions.istio.io.yaml",
    "base/crds/workloadentries.networking.istio.io.yaml",
    "base/crds/workloadgroups.networking.istio.io.yaml",
    "base/templates/NOTES.txt",
    "base/values.schema.json",
    "base/values.yaml",
    "cni/Chart.yaml",
    "cni/templates/NOTES.txt",
    "cni/templates/_helpers.tpl",
    "cni/templates/clusterrole.yaml",
    "cni/templates/configmap.yaml",
    "cni/templates/daemonset.yaml",
    "cni/templates/resourcequota.yaml",
    "cni/templates/serviceaccount.yaml",
    "cni/values.schema.json",
    "cni/values.yaml",
    "control-plane/Chart.yaml",
    "control-plane/templates/NOTES.txt",
    "control-plane/templates/_helpers.tpl",
    "control-plane/templates/_webhook.tpl",
    "control-plane/templates/availability.yaml",
    "control-plane/templates/clusterrole.yaml",
    "control-plane/templates/configmap.yaml",
    "control-plane/templates/deployment.yaml",
    "control-plane/templates/mutatingwebhook.yaml",
    "control-plane/templates/networkpolicy.yaml",
    "control-plane/templates/service.yaml",
    "control-plane/templates/serviceaccount.yaml",
    "control-plane/templates/validatingwebhook.yaml",
    "control-plane/values.schema.json",
    "control-plane/values.yaml",
    "gateway/Chart.yaml",
    "gateway/templates/NOTES.txt",
    "gateway/templates/_helpers.tpl",
    "gateway/templates/availability.yaml",
    "gateway/templates/deployment.yaml",
    "gateway/templates/role.yaml",
    "gateway/templates/service.yaml",
    "gateway/templates/serviceaccount.yaml",
    "gateway/values.schema.json",
    "gateway/values.yaml",
];

/// Where the definitions are among the files.
const DEFINITIONS: &str = "base/crds/";

/// The charts in a directory that goes away with this value.
#[derive(Debug)]
pub struct Charts(TempDir);

impl Charts {
    /// Writes them.
    pub fn unpack() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("meshctl-").tempdir();
        let dir = dir.context("cannot make a directory for the charts")?;
        for (path, content) in FILES {
            let file = dir.path().join(path);
            let parent = file.parent().unwrap_or(dir.path());
            fs::create_dir_all(parent)
                .and_then(|()| fs::write(&file, content))
                .with_context(|| format!("cannot write \"{}\"", file.display()))?;
        }
        Ok(Self(dir))
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        self.0.path()
    }
}

/// The definitions, each a document in YAML.
pub fn definitions() -> impl Iterator<Item = &'static str> {
    let files = FILES.iter();
    files
        .filter(|(path, _)| path.starts_with(DEFINITIONS))
        .map(|(_, content)| *content)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn files_below(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => files_below(&path, found),
                false => found.push(path),
            }
        }
    }

    #[test]
    fn every_file_of_the_charts_is_embedded() {
        let charts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts");
        let mut found = Vec::new();
        for chart in ["base", "cni", "control-plane", "gateway"] {
            files_below(&charts.join(chart), &mut found);
        }
        let relative = |path: &PathBuf| {
            let path = path.strip_prefix(&charts).unwrap();
            path.to_string_lossy().into_owned()
        };
        let mut found: Vec<String> = found.iter().map(relative).collect();
        found.retain(|path| !path.ends_with("README.md"));
        found.sort();
        let embedded: Vec<&str> = FILES.iter().map(|(path, _)| *path).collect();
        assert_eq!(embedded, found);
    }

    #[test]
    fn charts_are_unpacked_as_they_are() {
        let charts = Charts::unpack().unwrap();
        let chart = fs::read_to_string(charts.dir().join("gateway/Chart.yaml")).unwrap();
        assert_eq!(chart, include_str!("../../../charts/gateway/Chart.yaml"));
        assert!(definitions().count() > 10);
    }
}
