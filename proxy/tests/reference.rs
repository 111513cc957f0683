//! The parts of `docs/reference` that are generated from the code; `WEFT_UPDATE_GENERATED=1 cargo test -p proxy --test
//! reference` writes them anew.

mod reference {
    pub(crate) mod page;
    pub(crate) mod refusals;

    mod compatibility;
    mod metrics;
}
