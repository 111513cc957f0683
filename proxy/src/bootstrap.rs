//! The Envoy bootstrap (`envoy.config.bootstrap.v3.Bootstrap`), from YAML or JSON.
