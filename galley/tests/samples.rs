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
