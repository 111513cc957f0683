//! Errors as the runtime wants to read them, section "Error" of the specification.

use serde::Serialize;

use crate::config;

/// The codes of the specification that occur here; from 100 on they are a plugin's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// A version of the protocol that is not spoken here.
    IncompatibleVersion = 1,
    /// An environment variable is missing or wrong.
    InvalidEnvironment = 4,
    /// Reading or writing failed.
    Io = 5,
    /// The configuration is not JSON of the expected form.
    Decoding = 6,
    /// The configuration cannot work.
    InvalidConfiguration = 7,
    /// The node agent is not there, or not yet.
    TryAgainLater = 11,
    /// The node agent could not set the pod up.
    Refused = 100,
}

/// Why the pod is not set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What kind of failure.
    pub code: Code,
    /// What happened and what helps; Kubernetes shows it as an event of the pod.
    pub message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    cni_version: &'a str,
    code: u32,
    msg: &'a str,
}

impl Error {
    /// An error.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// For standard output, in the version that `configuration` asks for.
    pub fn to_json(&self, configuration: &str) -> String {
        let wire = Wire {
            cni_version: &config::answered_version(configuration),
            code: self.code as u32,
            msg: &format!("{}: {}", crate::TYPE, self.message),
        };
        serde_json::to_string(&wire).expect("strings and numbers are JSON")
    }
}
