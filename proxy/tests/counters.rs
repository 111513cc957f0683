//! Traffic that moves every metric of the data plane. The metrics are those of the catalogue: a new one without traffic
//! fails here.

#[path = "control_plane/server.rs"]
#[allow(dead_code, reason = "what only other tests use")]
mod control_plane;
#[path = "edge/harness.rs"]
#[allow(dead_code, reason = "what only tests/edge.rs uses")]
mod harness;
#[path = "http/http2_frames.rs"]
#[allow(dead_code, reason = "what only tests/http.rs uses")]
mod http2_frames;
#[path = "edge/pki.rs"]
mod pki;

mod counters {
    pub(crate) mod client;
    pub(crate) mod fixture;
    pub(crate) mod origin;
    pub(crate) mod seen;
    pub(crate) mod tls;

    mod downstream;
    mod traffic;
    mod upstream;
}
