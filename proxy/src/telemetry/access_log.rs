//! Access logs.

/// One access log of a listener or connection manager: format, filter and sink, compiled.
#[derive(Debug)]
pub struct AccessLog {}
