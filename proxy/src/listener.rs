//! Listening sockets, inspection of the first bytes, filter chain match.

pub mod stream;
