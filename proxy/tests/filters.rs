//! The contract of HTTP filters, through the whole proxy: filters that a test scripts, between a real client and a real
//! upstream, over HTTP/1 and HTTP/2.

#[path = "edge/harness.rs"]
#[allow(dead_code, reason = "what only tests/edge.rs uses")]
mod harness;

mod filters {
    pub(crate) mod mesh;
    pub(crate) mod script;

    mod bodies;
    mod heads;
    mod kinds;
    mod metadata;
    mod replies;
    mod routes;
    mod upstream;
}
