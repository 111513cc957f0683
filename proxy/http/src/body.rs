//! Bodies that stream through: nothing is collected unless a retry may need it again, or a filter asks for it.
//!
//! Those of requests are the upstream layer's; [`response::ResponseBody`] goes to the client and finishes the stream's
//! records.

use http::Version;
use http_body::Body;
use hyper::body::Incoming;

use crate::stream::Stream;

pub use proxy_upstream::body::{BodyError, Cutoff, Filtered, RequestBody, incoming, replay};

use incoming::CountedBody;

pub mod response;
pub mod upstream;

/// The client's body, counted for logs and time limits.
pub fn of_client(body: Incoming, stream: &Stream, version: Version) -> RequestBody {
    if body.is_end_stream() {
        return RequestBody::Empty;
    }
    RequestBody::Incoming(CountedBody::new(
        body,
        stream.info.bytes_received.clone(),
        stream.upload.clone(),
        stream.drops_trailers(),
        version == Version::HTTP_2,
    ))
}
