//! What goes back to the objects: their `status`, events for what was refused, and the
//! proxies of Gateways that are to have their own.
//!
//! [`Reports`] say what there is to say about each object of the cluster, as part of
//! every step; [`StatusWriter`] writes down what the API server does not have yet,
//! and only while its replica leads. A status is a function of the object and its
//! findings, so writing it changes nothing that it depends on, and a replica that
//! takes over finds nothing to do.

mod condition;
mod event;
mod gateway_class;
mod infrastructure;
mod patch;
mod queue;
mod report;
mod writer;

pub(crate) use self::report::Inputs;
pub use self::report::Reports;
pub use self::writer::StatusWriter;

/// The owner of the fields that are written.
const FIELD_MANAGER: &str = "weft-galley";
