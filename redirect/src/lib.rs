//! Traffic capture: from parameters to kernel rules in one network namespace.
//!
//! The flow is `Capture` (what the user asked for, `capture.rs`) → `Ruleset` (an ordered list of
//! rules, independent of any tool, `rules.rs`) → text for one tool (`nft.rs`, `iptables.rs`) →
//! one transaction in the kernel (`apply.rs`); `validate.rs` tells without privileges whether rules are in force. The meaning of every parameter is that of Istio's
//! `istio-iptables`; the same binary serves as init container, for the CNI plugin and for local pods.
//!
//! This crate does not touch anything outside the network namespace it runs in, and it does not
//! know pods, annotations or proxies beyond their ports and user ids.

pub mod apply;
pub mod args;
pub mod capture;
pub mod iptables;
pub mod nft;
pub mod rules;
pub mod validate;

pub use apply::{Applied, ApplyError, Tool, apply, cleanup};
pub use capture::{Capture, CaptureError, InboundMode, Ports, Ranges};
pub use rules::Ruleset;
pub use validate::{ValidationError, validate};
