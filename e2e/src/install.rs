//! The manifests that every mesh of the suite starts with.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::{args::DataPlane, samples::Samples};

/// Namespaces, mesh-wide settings and the suite's own applications.
const BASE: &str = include_str!("../manifests/base.yaml");
const ECHO: &str = include_str!("../manifests/echo.yaml");
/// Pods by a part of their deployment's name that run Envoy in a mixed mesh: each hop of bookinfo has both.
const ENVOY_IN_MIXED: [&str; 4] = ["productpage-v1", "reviews-v2", "ratings-v1", "echo-v2"];

/// Writes the manifests for a mesh into `dir`.
pub fn write(dir: &Path, data_plane: DataPlane, samples: &Samples) -> Result<()> {
    let bookinfo = fs::read_to_string(samples.bookinfo()?)?;
    let echo: String = ["v1", "v2", "v3"]
        .map(|version| ECHO.replace("${VERSION}", version))
        .concat();
    for (name, text) in [("base", BASE), ("echo", &echo), ("bookinfo", &bookinfo)] {
        let text = match data_plane {
            DataPlane::Mixed => with_envoys(text),
            DataPlane::Weft | DataPlane::Envoy => text.to_owned(),
        };
        let path = dir.join(format!("{name}.yaml"));
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Annotates the pod templates of some deployments so that they run Envoy.
///
/// Done on the text, so that the rest of the file stays as its author wrote it.
fn with_envoys(manifest: &str) -> String {
    manifest
        .split_inclusive("---\n")
        .map(|document| {
            let is_chosen = ENVOY_IN_MIXED
                .iter()
                .any(|name| document.contains(&format!("\n  name: {name}\n")));
            match is_chosen && document.contains("kind: Deployment") {
                true => annotate(document),
                false => document.to_owned(),
            }
        })
        .collect()
}

fn annotate(deployment: &str) -> String {
    const ANNOTATION: &str = "        weft.dev/data-plane: envoy\n";
    const TEMPLATE: &str = "  template:\n    metadata:\n";
    const ANNOTATIONS: &str = "      annotations:\n";
    let existing = format!("{TEMPLATE}{ANNOTATIONS}");
    match deployment.contains(&existing) {
        true => deployment.replace(&existing, &format!("{existing}{ANNOTATION}")),
        false => deployment.replace(TEMPLATE, &format!("{existing}{ANNOTATION}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_deployments_of_a_mixed_mesh_run_envoy() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), DataPlane::Mixed, &Samples::find(None).unwrap()).unwrap();
        let bookinfo = fs::read_to_string(dir.path().join("bookinfo.yaml")).unwrap();
        let echo = fs::read_to_string(dir.path().join("echo.yaml")).unwrap();
        let count = |text: &str| text.matches("weft.dev/data-plane: envoy").count();
        assert_eq!((count(&bookinfo), count(&echo)), (3, 1));
    }
}
