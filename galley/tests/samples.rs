//! The repository's samples, and Istio's own, unchanged, where they are beside the repository.

use std::io::Write;
use std::path::{Path, PathBuf};

use mesh_api::diagnostic::Severity;

#[test]
fn own_samples_are_accepted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples");
    assert!(accepted(&root) > 0);
}

/// In addition: the repository does not depend on them.
#[test]
fn istios_samples_are_accepted() {
    let root = std::env::var_os("WEFT_ISTIO_SAMPLES").map(PathBuf::from);
    let root =
        root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/samples"));
    let tried = if root.is_dir() { accepted(&root) } else { 0 };
    // Past the harness, which shows what a test prints only when it fails.
    let _ = writeln!(
        std::io::stderr(),
        "galley: {tried} objects of Istio's samples were tried"
    );
}

/// How many objects there are; none may have an error.
fn accepted(root: &Path) -> usize {
    let paths = [root.to_owned()];
    let errors: Vec<String> = galley::check_files(&paths)
        .into_iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .map(|diagnostic| diagnostic.to_string())
        .collect();
    assert_eq!(errors, Vec::<String>::new());
    galley::manifest::read_all(&paths).0.len()
}

/// Golden cases with one character replaced: whatever comes in, the decoder answers
/// with findings.
#[test]
fn damaged_objects_never_panic() {
    use proptest::prelude::*;
    let cases = [
        "virtual_service",
        "destination_rule",
        "gateway",
        "authorization_policy",
    ];
    let texts: Vec<String> = cases
        .iter()
        .map(|kind| format!("{}/tests/{kind}/full.yaml", env!("CARGO_MANIFEST_DIR")))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let damage = (0..texts.len(), any::<prop::sample::Index>(), any::<char>());
    proptest!(|((case, place, character) in damage)| {
        let mut text: Vec<char> = texts[case].chars().collect();
        let place = place.index(text.len());
        text[place] = character;
        let text: String = text.into_iter().collect();
        let (documents, _) = galley::manifest::parse("damaged.yaml", &text);
        galley::check_documents(documents);
    });
}
