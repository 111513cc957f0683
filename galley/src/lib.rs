//! YAML and Kubernetes objects in, the mesh model out.
//!
//! Objects come from sources, are decoded with the position of every field,
//! validated one by one, kept with their last good version, analyzed together and
//! normalised to [`mesh_api`] values, which are published as one snapshot.
//!
//! This crate does not compute anything for a particular proxy, and it does not
//! know xDS.

pub mod manifest;
pub mod permission;
pub mod source;

pub mod decode;
pub mod kind;
pub mod kinds;
pub mod object;

pub mod store;

pub mod snapshot;

pub mod status;

pub mod webhook;
pub mod work;

#[cfg(any(test, feature = "test-util"))]
pub mod test_util;

mod analyze;
mod check;
mod depend;
mod findings;
mod galley;
mod metrics;
mod pipeline;

pub use self::check::{analyze, check_documents, check_files, load};
pub use self::findings::Findings;
pub use self::galley::{Config, Galley, StartError};
