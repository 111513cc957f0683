//! The error of configuration that cannot be executed.
//!
//! Errors at run time belong to their modules; this one is shared because every translation from protobuf
//! ends in it, and because its text is what the control plane reads in a NACK.

use std::fmt;

/// A resource, or a part of one, that the proxy cannot execute.
///
/// Fields are named as in the API (`filter_chains[0].transport_socket`), outermost first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    path: String,
    message: String,
}

impl ConfigError {
    /// An error about the field `path`; an empty path stands for the whole message.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }

    /// An error about a field or extension that is known but not implemented. It is never ignored: a proxy
    /// that quietly does less than it was told is worse than one that says so.
    pub fn unsupported(path: impl Into<String>, what: impl fmt::Display) -> Self {
        Self::new(path, format!("{what} is not supported"))
    }

    /// The same error seen from the message that has the field `parent`.
    #[must_use]
    pub fn within(mut self, parent: impl fmt::Display) -> Self {
        self.path = match self.path.as_str() {
            "" => parent.to_string(),
            path if path.starts_with('[') => format!("{parent}{path}"),
            path => format!("{parent}.{path}"),
        };
        self
    }

    /// The field, empty for the whole message.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong with it.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

/// Puts the name of the enclosing field before an error's path.
pub trait Within<T> {
    /// See [`ConfigError::within`].
    fn within(self, parent: impl fmt::Display) -> Result<T, ConfigError>;
}

impl<T> Within<T> for Result<T, ConfigError> {
    fn within(self, parent: impl fmt::Display) -> Result<T, ConfigError> {
        self.map_err(|error| error.within(parent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_reads_from_the_outside_in() {
        let error = ConfigError::new("common_tls_context", "no certificate")
            .within("transport_socket")
            .within("filter_chains[2]");
        assert_eq!(
            error.to_string(),
            "filter_chains[2].transport_socket.common_tls_context: no certificate"
        );
        assert_eq!(ConfigError::new("", "empty").to_string(), "empty");
        assert_eq!(
            ConfigError::new("[1]", "bad").within("filters").to_string(),
            "filters[1]: bad"
        );
    }
}
