//! Fuzzing of every parser of bytes from outside.
//!
//! A [`Target`] is a plain function from bytes to an [`Outcome`](target::Outcome). [`mutate`] makes inputs out of
//! seeds, [`child`] feeds them to one target in a process of its own, and [`run`] starts these processes, notices how
//! they end, and makes what ended one of them smaller ([`minimise`]). Everything runs on the pinned stable toolchain;
//! `libfuzzer/` beside this crate has the same targets for `cargo fuzz`, whose feedback is coverage. Here the feedback
//! is the outcome: an input that leads to a new one is kept and mutated further.
//!
//! This crate does not contain parsers, and no other crate uses it.

pub mod target;
pub mod targets;

pub mod corpus;
pub mod mutate;

pub mod child;
pub mod minimise;
pub mod run;

pub use target::Target;
