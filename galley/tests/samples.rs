//! Istio's own samples, unchanged, wherever they are present.

use std::path::PathBuf;

use mesh_api::diagnostic::Severity;

fn samples() -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/samples");
    path.is_dir().then_some(path)
}

#[test]
fn all_samples_are_accepted() {
    let Some(samples) = samples() else {
        return;
    };
    let errors: Vec<String> = galley::check_files(&[samples])
        .into_iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .map(|diagnostic| diagnostic.to_string())
        .collect();
    assert_eq!(errors, Vec::<String>::new());
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
