//! What the runtime says in environment variables, section "Parameters" of the specification.

use std::path::PathBuf;

use crate::error::{Code, Error};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// A container joins the network.
    Add,
    /// Which versions are spoken.
    Version,
    /// Leave, check, clean up, or tell whether pods can be added: nothing is to be done for any of these.
    Other,
}

/// One call of the plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// `CNI_COMMAND`
    pub command: Command,
    /// `CNI_NETNS`, the network namespace as a file.
    pub namespace_file: Option<PathBuf>,
    /// `CNI_ARGS`, if a pod of Kubernetes is meant.
    pub pod: Option<PodName>,
}

/// A pod as the runtime names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodName {
    /// `K8S_POD_NAMESPACE`
    pub namespace: String,
    /// `K8S_POD_NAME`
    pub name: String,
    /// `K8S_POD_UID`, which runtimes of today pass.
    pub uid: Option<String>,
}

impl Invocation {
    /// Reads the variables.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let filled = |name: &str| variable(name).filter(|value| !value.is_empty());
        let command = match filled("CNI_COMMAND").as_deref() {
            Some("ADD") => Command::Add,
            Some("VERSION") => Command::Version,
            Some("DEL" | "CHECK" | "GC" | "STATUS") => Command::Other,
            other => {
                let message = format!(
                    "CNI_COMMAND \"{}\" is not one of ADD, CHECK, DEL, GC, STATUS, VERSION: container runtimes call this program",
                    other.unwrap_or_default()
                );
                return Err(Error::new(Code::InvalidEnvironment, message));
            }
        };
        Ok(Self {
            command,
            namespace_file: filled("CNI_NETNS").map(PathBuf::from),
            pod: filled("CNI_ARGS").and_then(|args| PodName::parse(&args)),
        })
    }
}

impl PodName {
    /// Reads `KEY=VALUE;KEY=VALUE`.
    fn parse(args: &str) -> Option<Self> {
        let value = |wanted: &str| {
            let mut pairs = args.split(';').filter_map(|pair| pair.split_once('='));
            let value = pairs.find(|(key, _)| *key == wanted)?.1;
            (!value.is_empty()).then(|| value.to_owned())
        };
        Some(Self {
            namespace: value("K8S_POD_NAMESPACE")?,
            name: value("K8S_POD_NAME")?,
            uid: value("K8S_POD_UID"),
        })
    }
}
