//! Errors of the data plane and the one mapping to HTTP and gRPC status.
