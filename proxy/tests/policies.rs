//! What a configuration made is taken back with it: a proxy that has seen policies come and go under traffic does what a
//! proxy does that has never seen them.

#[path = "control_plane/server.rs"]
mod control_plane;
#[path = "edge/harness.rs"]
#[allow(dead_code, reason = "what only other tests use")]
mod harness;

mod policies {
    pub(crate) mod mesh;
    pub(crate) mod origins;
    pub(crate) mod policy;

    mod taken_back;
}
