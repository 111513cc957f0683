//! Seeds: examples of what a parser is meant for, and inputs that once broke it.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::Target;

/// The folder of a target's seeds in the repository.
pub fn folder(target: &Target) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target.name)
}

/// The seeds of a target, in an order that does not depend on the machine; an empty input if there is no other.
///
/// # Errors
/// When the folder is there and cannot be read.
pub fn seeds(target: &Target) -> io::Result<Vec<Vec<u8>>> {
    let mut seeds = (target.seeds)();
    let folder = folder(target);
    if folder.is_dir() {
        let entries = fs::read_dir(folder)?;
        let mut files = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()?;
        files.sort();
        for file in files {
            seeds.push(fs::read(file)?);
        }
    }
    if seeds.is_empty() {
        seeds.push(Vec::new());
    }
    Ok(seeds)
}
