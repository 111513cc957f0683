//! Bringing the mesh into a cluster and out of it.
//!
//! The charts are part of this program and are driven through the `helm` command, so that what is installed here
//! are the same releases that `helm install` makes by hand, and either can go on with the other's. Definitions are
//! applied directly, because Helm never upgrades them.

pub mod charts;
pub mod definitions;
pub mod failure;
pub mod helm;
pub mod permissions;
pub mod plan;
pub mod precheck;
pub mod purge;
pub mod rollout;
pub mod tag;
pub mod users;
pub mod wait;

/// The owner of what is applied without Helm.
pub const FIELD_MANAGER: &str = "meshctl";
