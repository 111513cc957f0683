//! Istio's own samples, unchanged, wherever they are present; the project's own, always.

use std::path::{Path, PathBuf};

use mesh_api::mesh_config::MeshConfig;
use xds::json::Json;

use super::fixture::*;
use super::{check, report};
use crate::app::{Resources, generate};

#[test]
fn own_samples() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../samples");
    each(&root, &root.join("bookinfo"));
}

#[test]
fn istio_samples() {
    let root = std::env::var_os("WEFT_ISTIO_SAMPLES").map(PathBuf::from);
    let root = root
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/samples"));
    let tried = match root.is_dir() {
        true => each(&root, &root.join("bookinfo/platform")),
        false => 0,
    };
    report(&format!(
        "pilot: {tried} files of Istio's samples were tried"
    ));
}

/// Every file of its own beside the base, since many of them replace one another. Returns how many there are.
fn each(root: &Path, base: &Path) -> usize {
    let mut files = Vec::new();
    collect(root, &mut files);
    assert!(!files.is_empty());
    // Many files change nothing for these two proxies; the same is not shown twice.
    let json = Json::load();
    let mut shown = Vec::new();
    for file in &files {
        let (snapshot, _) = galley::load(&[base.to_owned(), file.clone()], MeshConfig::default());
        let name = file.strip_prefix(root).unwrap().display().to_string();
        for node in [
            sidecar("productpage", "v1", "10.244.0.0", "envoy"),
            ingress("envoy"),
        ] {
            let resources = in_order(&json, &generate(&snapshot, &node));
            if !shown.contains(&resources) {
                check(&name, &snapshot, &node);
                shown.push(resources);
            }
        }
    }
    files.len()
}

/// Resources in a form that does not depend on the order of maps in their encoding.
fn in_order(json: &Json, resources: &Resources) -> Vec<serde_json::Value> {
    let all = resources.values().flat_map(|of_type| of_type.values());
    all.map(|body| json.encode_resource(&body.type_url, &body.value))
        .collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            files.push(path);
        }
    }
}
