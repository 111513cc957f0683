//! `descriptors/envoy.bin` is the descriptor set of the locked `envoy-types`, without what JSON does not need,
//! and with our own messages that occur inside of Envoy's.
//!
//! After raising `envoy-types`: `UPDATE_DESCRIPTORS=1 cargo test -p xds --test descriptors`.

use std::path::{Path, PathBuf};
use std::process::Command;

use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};

#[test]
fn the_committed_descriptors_are_those_of_the_locked_envoy_types() {
    let package = package_dir("envoy-types");
    let shipped = std::fs::read(package.join("src/generated/types.bin")).unwrap();
    let trimmed = trim(&shipped);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("descriptors/envoy.bin");
    if std::env::var_os("UPDATE_DESCRIPTORS").is_some() {
        std::fs::write(&path, &trimmed).unwrap();
    }
    let committed = std::fs::read(&path).unwrap();
    assert!(
        committed == trimmed,
        "{} is out of date: run with UPDATE_DESCRIPTORS=1",
        path.display()
    );
}

/// Leaves out services, source positions and annotations (validation rules, status): a sixth of the size
/// is left. `prost` drops the annotations by itself, as they are extensions.
fn trim(descriptors: &[u8]) -> Vec<u8> {
    let mut set = FileDescriptorSet::decode(descriptors).unwrap();
    set.file.push(typed_struct());
    for file in &mut set.file {
        file.source_code_info = None;
        file.service.clear();
        file.options = None;
        file.message_type.iter_mut().for_each(trim_message);
        for values in &mut file.enum_type {
            values
                .value
                .iter_mut()
                .for_each(|value| value.options = None);
        }
    }
    set.encode_to_vec()
}

/// The message that `envoy-types` lacks.
fn typed_struct() -> FileDescriptorProto {
    const NAME: &str = "xds/type/v3/typed_struct.proto";
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let compiled = protox::compile([root.join(NAME)], [root]).unwrap();
    let file = compiled.file.into_iter().find(|file| file.name() == NAME);
    file.expect("the compiler returns what it compiled")
}

fn trim_message(message: &mut DescriptorProto) {
    // The options of messages and enums stay: `map_entry` and `allow_alias` are some.
    for field in &mut message.field {
        if field
            .options
            .as_ref()
            .is_some_and(|options| options.packed.is_none())
        {
            field.options = None;
        }
    }
    message.nested_type.iter_mut().for_each(trim_message);
    for values in &mut message.enum_type {
        values
            .value
            .iter_mut()
            .for_each(|value| value.options = None);
    }
}

fn package_dir(name: &str) -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version=1",
            "--locked",
            "--offline",
            "--filter-platform=host-tuple",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == name);
    let manifest = package.unwrap()["manifest_path"].as_str().unwrap();
    Path::new(manifest).parent().unwrap().to_owned()
}
