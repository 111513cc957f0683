//! Framing through the whole proxy: random sequences of requests and responses, right and wrong, HTTP/1 and
//! HTTP/2 on either side, between clients and a strict origin that are both written by hand.
//!
//! What must hold, whatever is sent ([`framing::check`]): every request that the origin parses was sent by a
//! client as one, with its own body; every client gets its own response, a local reply or the end of the
//! connection; a response that broke off is never shown as complete; no upstream connection is used again once
//! its framing is in doubt; and everything ends.
//!
//! `WEFT_FRAMING_SEQUENCES` is how many sequences are tried, `WEFT_FRAMING_SEED` the first seed of them (a
//! failure names its own), and `WEFT_FRAMING_PROXY` an Envoy to be tried in place of this proxy.

#![allow(
    clippy::print_stdout,
    reason = "its count is for whoever reads the log"
)]

mod framing {
    pub(crate) mod script;

    pub(crate) mod generate;
    pub(crate) mod shrink;

    pub(crate) mod wire;

    pub(crate) mod client;
    pub(crate) mod origin;

    pub(crate) mod contender;
    pub(crate) mod lane;

    pub(crate) mod check;

    mod random;
    mod regressions;
}
