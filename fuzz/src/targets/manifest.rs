//! Manifests: YAML with positions, and every kind behind it.

use std::fs;
use std::path::{Path, PathBuf};

use mesh_api::diagnostic::Diagnostic;
use mesh_api::resource::Origin;

use crate::target::{Outcome, Target, magnitude, outcome};

const WORDS: &[&str] = &[
    "---\n",
    "...\n",
    "- ",
    ": ",
    "  ",
    "\n",
    "\t",
    "{",
    "}",
    "[",
    "]",
    "|\n",
    ">-\n",
    "'",
    "\"",
    "&a ",
    "*a",
    "<<: *a\n",
    "!!binary ",
    "? ",
    "# ",
    "%YAML 1.2\n",
    "null",
    "~",
    "0o17",
    ".inf",
    "kind: List\n",
    "items:\n",
    "metadata:\n",
    "apiVersion: networking.istio.io/v1\n",
    "kind: VirtualService\n",
    "regex: ",
    "prefix: /",
    "*.example",
];

pub(super) static TARGETS: &[Target] = &[Target::new("yaml", yaml)
    .seeds(seeds)
    .dictionary(WORDS)
    .bytes_max(32 << 10)];

/// Every finding is at a place inside of the text.
fn yaml(input: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(input);
    let (documents, mut findings) = galley::manifest::parse("fuzzed.yaml", &text);
    let count = documents.len();
    let syntax = findings.len();
    findings.extend(galley::check_documents(documents));
    let lines = text.split(['\n', '\r']).count();
    for finding in &findings {
        let line = line(finding);
        assert!(line <= lines, "line {line} of {lines}: {finding}");
    }
    let mut codes: Vec<_> = findings.iter().map(|finding| finding.code).collect();
    codes.sort_unstable();
    codes.dedup();
    outcome((magnitude(count), magnitude(syntax), codes))
}

fn line(finding: &Diagnostic) -> usize {
    match &finding.origin {
        Origin::File { line, .. } => *line as usize,
        Origin::Cluster { .. } | Origin::BuiltIn => 0,
    }
}

/// The golden cases of all kinds.
fn seeds() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../galley/tests");
    let mut files = yaml_files(&root);
    files.sort();
    files
        .iter()
        .filter_map(|file| fs::read(file).ok())
        .collect()
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let nested = paths.flat_map(|path| match path.is_dir() {
        true => yaml_files(&path),
        false => vec![path],
    });
    nested
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect()
}
