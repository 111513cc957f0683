//! Bodies that stream through: nothing is collected unless a retry may need it again.
//!
//! Those of requests are the upstream layer's; [`response::ResponseBody`] goes to the client and finishes the stream's
//! records.

pub use proxy_upstream::body::{BodyError, RequestBody, grpc, incoming, replay};

pub mod response;
