//! Command line of `weft-proxy`.
