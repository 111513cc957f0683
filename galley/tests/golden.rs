//! One YAML file for each case: what it means (`.model`) and what is wrong with it
//! (`.diagnostics`). `UPDATE_GOLDEN=1 cargo test -p galley` writes both anew.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use galley::kinds::Context;
use galley::manifest;
use galley::object;
use mesh_api::mesh_config::MeshConfig;

/// Directories beside this file, one for each kind.
const KINDS: [&str; 14] = [
    "authorization_policy",
    "destination_rule",
    "documents",
    "gateway",
    "gateway_api",
    "kubernetes",
    "mesh_config",
    "peer_authentication",
    "request_authentication",
    "service_entry",
    "sidecar",
    "telemetry",
    "unsupported",
    "virtual_service",
];

#[test]
fn every_case_has_its_model_and_its_diagnostics() {
    let mut differing = Vec::new();
    let mut cases = 0;
    for kind in KINDS {
        for case in cases_of(kind) {
            cases += 1;
            let (model, diagnostics) = outcome(&case);
            differing.extend(check(&case.with_extension("model"), &model));
            differing.extend(check(&case.with_extension("diagnostics"), &diagnostics));
        }
    }
    assert!(cases > 30, "only {cases} cases were found");
    assert!(differing.is_empty(), "{}", differing.join("\n\n"));
}

fn cases_of(kind: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(kind);
    let entries =
        fs::read_dir(&directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut cases: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    cases.sort();
    cases
}

fn outcome(case: &Path) -> (String, String) {
    let name = case.file_name().unwrap().to_str().unwrap();
    let (documents, mut diagnostics) = manifest::parse(name, &fs::read_to_string(case).unwrap());
    let mesh = MeshConfig::default();
    let mut model = String::new();
    for document in documents.into_iter().map(Arc::new) {
        let context = Context {
            mesh: &mesh,
            config_map: "istio",
            budget: &galley::work::Budget::default(),
        };
        let reading = object::read(&document, &context);
        diagnostics.extend(reading.diagnostics);
        if let Some(object) = reading.object {
            writeln!(model, "{:#?}", object.model).unwrap();
        }
    }
    let lines: Vec<String> = diagnostics
        .iter()
        .map(|diagnostic| format!("{diagnostic}\n"))
        .collect();
    (model, lines.concat())
}

/// An empty outcome has no file.
fn check(path: &Path, actual: &str) -> Option<String> {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        if actual.is_empty() {
            let _ = fs::remove_file(path);
        } else {
            fs::write(path, actual).unwrap();
        }
        return None;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if expected == actual {
        return None;
    }
    let at = expected
        .lines()
        .zip(actual.lines())
        .position(|(a, b)| a != b);
    let line = at.unwrap_or_else(|| expected.lines().count().min(actual.lines().count()));
    Some(format!(
        "{} differs from line {}:\n  expected: {}\n  actual:   {}",
        path.display(),
        line + 1,
        expected.lines().nth(line).unwrap_or("<end>"),
        actual.lines().nth(line).unwrap_or("<end>"),
    ))
}
