//! Pages in which generated blocks stand between prose.

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// A page of `docs/reference`.
pub(crate) struct Page {
    path: PathBuf,
    text: String,
}

impl Page {
    pub(crate) fn open(name: &str) -> Self {
        let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference");
        let path = reference.join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        Self { path, text }
    }

    /// Fails if a block is not what is generated for it, or writes it where that is asked for.
    pub(crate) fn check(mut self, blocks: &[(&str, String)]) {
        let mut expected = self.text.clone();
        for (name, block) in blocks {
            expected = replaced(&expected, name, block);
        }
        if std::env::var_os("WEFT_UPDATE_GENERATED").is_some() {
            std::fs::write(&self.path, &expected).unwrap();
            self.text.clone_from(&expected);
        }
        let differs = self
            .text
            .lines()
            .zip(expected.lines())
            .find(|(a, b)| a != b);
        assert!(
            self.text == expected,
            "{} has drifted: run with WEFT_UPDATE_GENERATED=1\n{differs:?}",
            self.path.display()
        );
    }
}

fn replaced(text: &str, name: &str, block: &str) -> String {
    let begin = format!("<!-- begin generated: {name} -->\n");
    let end = format!("<!-- end generated: {name} -->");
    let (before, rest) = text.split_once(&begin).expect("the begin of the block");
    let (_, after) = rest.split_once(&end).expect("the end of the block");
    format!("{before}{begin}{block}{end}{after}")
}

/// A table of Markdown.
pub(crate) fn table(heads: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = format!(
        "| {} |\n|{}\n",
        heads.join(" | "),
        "---|".repeat(heads.len())
    );
    for row in rows {
        let _ = writeln!(table, "| {} |", row.join(" | "));
    }
    table
}
