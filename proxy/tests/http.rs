//! HTTP through the whole proxy on static bootstraps, inside this process, over real sockets.

#[path = "edge/harness.rs"]
#[allow(dead_code, reason = "what only tests/edge.rs uses")]
mod harness;

mod http {
    pub(crate) mod http2_frames;
    pub(crate) mod origin;
    pub(crate) mod upstream;

    mod exchange;
    mod framing;
    mod header_memory;
    mod limits;
    mod malformed;
}
