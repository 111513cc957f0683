//! The plugin's entry in the network configuration: written by the node agent, read by the plugin.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::{Code, Error};

/// Versions of the specification that are spoken here.
pub const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// What the agent decides for the plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// The agent's socket, as the host sees it.
    pub socket: PathBuf,
    /// Namespaces whose pods are never captured; the agent is not asked.
    #[serde(default)]
    pub exclude_namespaces: Vec<String>,
    /// The namespace of agent and control plane. Its pods start without the agent, which is one of them.
    ///
    /// A pod that is injected there is not open for that: its init container `istio-validation` holds it.
    #[serde(default)]
    pub agent_namespace: String,
}

/// What the runtime passes on standard input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Configuration {
    cni_version: String,
    #[serde(default)]
    prev_result: Option<Box<RawValue>>,
    /// The plugin's own part.
    #[serde(flatten)]
    pub settings: Settings,
}

impl Configuration {
    /// Reads the configuration of an operation that sets something up.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let found: Self = serde_json::from_str(text)
            .map_err(|error| Error::new(Code::Decoding, format!("configuration: {error}")))?;
        if !VERSIONS.contains(&found.cni_version.as_str()) {
            let message = format!(
                "CNI version \"{}\" is not supported: expected one of {}",
                found.cni_version,
                VERSIONS.join(", ")
            );
            return Err(Error::new(Code::IncompatibleVersion, message));
        }
        Ok(found)
    }

    /// What the plugins before this one made, as they wrote it.
    pub fn previous_result(&self) -> Result<&str, Error> {
        let result = self.prev_result.as_deref().map(RawValue::get);
        result.ok_or_else(|| {
            Error::new(
                Code::InvalidConfiguration,
                "prevResult is missing: this plugin stands after one that makes a network",
            )
        })
    }
}

/// The version to answer in, if that can be made out.
pub(crate) fn answered_version(configuration: &str) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        cni_version: String,
    }
    let asked = serde_json::from_str::<Version>(configuration).map(|found| found.cni_version);
    let newest = VERSIONS[VERSIONS.len() - 1];
    asked
        .ok()
        .filter(|asked| VERSIONS.contains(&asked.as_str()))
        .unwrap_or_else(|| newest.to_owned())
}
