//! The definitions in `charts/base/crds` are those that the wire structs give.
//!
//! `WEFT_UPDATE_GOLDEN=1` writes them anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use galley::kinds::definition::Definition;
use galley::kinds::definitions;
use serde_json::Value;

const HEADER: &str = "\
# Generated from galley/src/kinds; after a change there: WEFT_UPDATE_GOLDEN=1 cargo test -p galley --test definitions
";

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../charts/base/crds")
}

/// File name and content of each definition.
fn generated() -> BTreeMap<String, String> {
    let file = |definition: &Definition| {
        let yaml = serde_saphyr::to_string(&definition.manifest()).unwrap();
        (
            format!("{}.yaml", definition.name()),
            format!("{HEADER}{yaml}"),
        )
    };
    definitions().map(file).collect()
}

fn committed() -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir(directory()) else {
        return BTreeMap::new();
    };
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    entries.map(file).collect()
}

#[test]
fn the_chart_has_the_definitions_of_the_wire_structs() {
    let generated = generated();
    if std::env::var_os("WEFT_UPDATE_GOLDEN").is_some() {
        let _ = fs::remove_dir_all(directory());
        fs::create_dir_all(directory()).unwrap();
        for (name, content) in &generated {
            fs::write(directory().join(name), content).unwrap();
        }
    }
    let committed = committed();
    let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&committed), names(&generated));
    for (name, content) in &generated {
        assert!(
            committed[name] == *content,
            "{name} is not what galley/src/kinds gives"
        );
    }
}

/// Fields of a schema, below `path`, that say nothing about themselves.
fn without_description(schema: &Value, path: &str, found: &mut Vec<String>) {
    let fields = schema["properties"].as_object().into_iter().flatten();
    for (name, field) in fields {
        let path = format!("{path}.{name}");
        if field["description"].as_str().is_none_or(str::is_empty) {
            found.push(path.clone());
        }
        without_description(field, &path, found);
    }
    for items in ["items", "additionalProperties"] {
        if schema[items].is_object() {
            without_description(&schema[items], path, found);
        }
    }
}

#[test]
fn every_field_says_what_it_does() {
    let mut found = Vec::new();
    for definition in definitions() {
        let manifest = definition.manifest();
        let schema = &manifest["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let spec = &schema["properties"]["spec"];
        without_description(spec, definition.kind, &mut found);
    }
    assert_eq!(found, Vec::<String>::new());
}
