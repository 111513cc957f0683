//! The node agent: identity, certificates, status port.
