//! Seeds are parsed without harm: among them are the inputs that once broke something.

use std::collections::BTreeSet;
use std::fs;

use fuzz::{corpus, targets};

#[test]
fn every_target_has_seeds_and_none_breaks_it() {
    for target in targets::all() {
        let seeds = corpus::seeds(target).unwrap();
        assert_ne!(seeds, [Vec::<u8>::new()], "{} has no seeds", target.name);
        for seed in seeds {
            let long = seed.len() > target.bytes_max;
            assert!(!long, "{}: a seed of {} bytes", target.name, seed.len());
            (target.run)(&seed);
        }
    }
}

/// A target whose seeds all come to the same would learn nothing from its inputs.
#[test]
fn seeds_have_different_outcomes() {
    for target in targets::all() {
        let seeds = corpus::seeds(target).unwrap();
        let outcomes: BTreeSet<u64> = seeds.iter().map(|seed| (target.run)(seed)).collect();
        assert!(seeds.len() == 1 || outcomes.len() > 1, "{}", target.name);
    }
}

#[test]
fn names_are_unique_and_every_folder_has_a_target() {
    let names: Vec<&str> = targets::all().map(|target| target.name).collect();
    let unique: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(unique.len(), names.len());
    let folders = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus")).unwrap();
    for folder in folders {
        let name = folder.unwrap().file_name().into_string().unwrap();
        assert!(unique.contains(name.as_str()), "no target \"{name}\"");
    }
}
