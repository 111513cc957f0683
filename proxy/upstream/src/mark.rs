//! The mark that keeps our own connections out of traffic capture where user ids cannot.
//!
//! Capture rules tell the proxy's connections from the application's by the proxy's user. In a user namespace
//! with a single user id they cannot; whoever sets up the pod then names a socket mark in `WEFT_SOCKET_MARK`,
//! and the rules exempt sockets that carry it.

use std::io;
use std::os::fd::AsFd;
use std::sync::OnceLock;

/// Environment variable with the mark.
const VARIABLE: &str = "WEFT_SOCKET_MARK";

/// The mark of this process; it cannot change, because the rules of the pod do not.
pub fn socket_mark() -> Option<u32> {
    static MARK: OnceLock<Option<u32>> = OnceLock::new();
    *MARK.get_or_init(|| {
        std::env::var(VARIABLE)
            .ok()
            .and_then(|text| text.parse().ok())
    })
}

/// Marks a socket before it connects, if connections are to be marked.
///
/// # Errors
/// The capability `NET_ADMIN` is missing.
pub fn mark(socket: &impl AsFd) -> io::Result<()> {
    match socket_mark() {
        Some(mark) => socket2::SockRef::from(socket).set_mark(mark),
        None => Ok(()),
    }
}
