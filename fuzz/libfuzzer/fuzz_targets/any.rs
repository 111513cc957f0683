//! Runs the target that `WEFT_FUZZ_TARGET` names.

#![no_main]

use std::sync::LazyLock;

use fuzz::{Target, targets};
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("WEFT_FUZZ_TARGET").expect("WEFT_FUZZ_TARGET names a target");
    targets::find(&name).expect("WEFT_FUZZ_TARGET names a target: see \"fuzz list\"")
});

fuzz_target!(|input: &[u8]| {
    (TARGET.run)(input);
});
