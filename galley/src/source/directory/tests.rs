use std::fs;

use super::*;

struct Fixture {
    first: tempfile::TempDir,
    second: tempfile::TempDir,
    directories: Directories,
    now: Instant,
}

fn policy(name: &str, mode: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: {name}}}\nspec: {{mtls: {{mode: {mode}}}}}\n"
    )
}

impl Fixture {
    fn new() -> Self {
        let first = tempfile::tempdir().unwrap();
        let second = tempfile::tempdir().unwrap();
        let paths = vec![first.path().to_owned(), second.path().to_owned()];
        Self {
            first,
            second,
            directories: Directories::new(paths),
            now: Instant::now(),
        }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.first.path().join(name), text).unwrap();
    }

    /// What scans find until nothing is missing: see [`Fixture::scan_once`].
    fn scan(&mut self) -> (Vec<String>, Vec<String>) {
        let (mut applied, mut deleted) = self.scan_once();
        while let Some(next) = self.directories.next_scan() {
            self.now = next;
            let (more, gone) = self.scan_once();
            applied.extend(more);
            deleted.extend(gone);
        }
        (applied, deleted)
    }

    /// Names and modes of what was applied, names of what was deleted.
    fn scan_once(&mut self) -> (Vec<String>, Vec<String>) {
        let delta = self.directories.scan(self.now);
        let applied = delta.applied.iter().map(|document| {
            let mode = document
                .node
                .get("spec")
                .and_then(|spec| spec.get("mtls")?.get_str("mode"));
            format!("{} {}", document.name(), mode.unwrap_or("-"))
        });
        let deleted = delta.deleted.iter().map(|key| key.object.name.to_string());
        (applied.collect(), deleted.collect())
    }
}

fn changes(applied: &[&str], deleted: &[&str]) -> (Vec<String>, Vec<String>) {
    let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    (owned(applied), owned(deleted))
}

#[test]
fn only_differences_are_reported() {
    let mut fixture = Fixture::new();
    fixture.write("a.yaml", &policy("a", "STRICT"));
    fs::create_dir(fixture.first.path().join("deep")).unwrap();
    fixture.write("deep/b.yml", &policy("b", "STRICT"));
    fixture.write("notes.txt", &policy("c", "STRICT"));
    fixture.write(".hidden.yaml", &policy("d", "STRICT"));
    assert_eq!(fixture.scan(), changes(&["a STRICT", "b STRICT"], &[]));
    assert_eq!(fixture.scan(), changes(&[], &[]));
    fixture.write("a.yaml", &policy("a", "DISABLE"));
    assert_eq!(fixture.scan(), changes(&["a DISABLE"], &[]));
    fs::remove_file(fixture.first.path().join("deep/b.yml")).unwrap();
    assert_eq!(fixture.scan(), changes(&[], &["b"]));
}

#[test]
fn later_directories_override_earlier_ones() {
    let mut fixture = Fixture::new();
    fixture.write("a.yaml", &policy("a", "STRICT"));
    let overriding = fixture.second.path().join("other.yaml");
    fs::write(&overriding, policy("a", "DISABLE")).unwrap();
    assert_eq!(fixture.scan(), changes(&["a DISABLE"], &[]));
    assert_eq!(fixture.directories.diagnostics(), []);
    fs::remove_file(overriding).unwrap();
    assert_eq!(fixture.scan(), changes(&["a STRICT"], &[]));
}

#[test]
fn a_broken_file_loses_none_of_its_objects() {
    let mut fixture = Fixture::new();
    let both = format!("{}---\n{}", policy("a", "STRICT"), policy("b", "STRICT"));
    fixture.write("a.yaml", &both);
    assert_eq!(fixture.scan(), changes(&["a STRICT", "b STRICT"], &[]));
    let broken = format!("{}---\nkind: [\n", policy("a", "DISABLE"));
    fixture.write("a.yaml", &broken);
    assert_eq!(fixture.scan(), changes(&["a DISABLE"], &[]));
    assert_eq!(fixture.directories.diagnostics().len(), 1);
    let misspelt = format!(
        "{}---\n{}",
        policy("a", "DISABLE"),
        policy("b", "STRICT").replace("kind: Peer", "kind: Pear")
    );
    fixture.write("a.yaml", &misspelt);
    // The misspelt kind is an object of its own to the source; `b` stays.
    assert_eq!(fixture.scan(), changes(&["b STRICT"], &[]));
    fixture.write("a.yaml", &policy("a", "DISABLE"));
    assert_eq!(fixture.scan(), changes(&[], &["b", "b"]));
    assert_eq!(fixture.directories.diagnostics(), []);
}

#[test]
fn duplicates_in_one_directory_are_named() {
    let mut fixture = Fixture::new();
    fixture.write("a.yaml", &policy("a", "STRICT"));
    fixture.write("b.yaml", &policy("a", "DISABLE"));
    assert_eq!(fixture.scan(), changes(&["a DISABLE"], &[]));
    let shown: Vec<_> = fixture
        .directories
        .diagnostics()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(shown.len(), 1);
    assert!(
        shown[0].contains(
            "a.yaml:1:1: warning[WEFT0004] PeerAuthentication default/a: the same object stands at"
        ),
        "{}",
        shown[0]
    );
}

#[test]
fn a_missing_directory_is_a_finding() {
    let mut directories = Directories::new(vec!["/nonexistent/weft".into()]);
    assert!(directories.scan(Instant::now()).is_empty());
}

#[test]
fn a_file_that_is_written_in_place_keeps_its_objects() {
    let mut fixture = Fixture::new();
    let both = format!("{}---\n{}", policy("a", "STRICT"), policy("b", "STRICT"));
    fixture.write("a.yaml", &both);
    assert_eq!(fixture.scan_once(), changes(&["a STRICT", "b STRICT"], &[]));
    fixture.write("a.yaml", "");
    assert_eq!(fixture.scan_once(), changes(&[], &[]));
    fixture.write("a.yaml", &policy("a", "DISABLE"));
    assert_eq!(fixture.scan_once(), changes(&["a DISABLE"], &[]));
    assert_eq!(
        fixture.directories.next_scan(),
        Some(fixture.now + REMOVAL_DELAY)
    );
    fixture.write("a.yaml", &both);
    assert_eq!(fixture.scan_once(), changes(&["a STRICT"], &[]));
    assert_eq!(fixture.directories.next_scan(), None);
    fixture.write("a.yaml", "");
    assert_eq!(fixture.scan_once(), changes(&[], &[]));
    fixture.now += REMOVAL_DELAY;
    assert_eq!(fixture.scan_once(), changes(&[], &["a", "b"]));
    // A file that is replaced or removed is whole: what it lacks is deleted at once.
    fixture.write("a.yaml", &both);
    assert_eq!(fixture.scan_once(), changes(&["a STRICT", "b STRICT"], &[]));
    let path = fixture.first.path().join("a.yaml");
    let new = fixture.first.path().join("a.new");
    fs::write(&new, policy("a", "STRICT")).unwrap();
    fs::rename(&new, &path).unwrap();
    assert_eq!(fixture.scan_once(), changes(&[], &["b"]));
    fs::remove_file(path).unwrap();
    assert_eq!(fixture.scan_once(), changes(&[], &["a"]));
    assert_eq!(fixture.directories.next_scan(), None);
}

#[test]
fn a_file_that_is_removed_between_listing_and_reading_is_no_finding() {
    let fixture = Fixture::new();
    let gone = fixture.first.path().join("gone.yaml");
    assert!(read(&gone, None, fixture.now).is_none());
}
