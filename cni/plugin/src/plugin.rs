//! The operations of the plugin.

use std::{fs::File, path::Path};

use serde_json::json;

use crate::{
    config::{Configuration, VERSIONS, answered_version},
    error::{Code, Error},
    invocation::{Command, Invocation, PodName},
    protocol::{self, Answer, AskError, Request},
};

/// Performs what the runtime asks for; the text is for standard output.
///
/// Only ADD does anything. Rules live in the pod's network namespace and go away with it (DEL, GC), and whether
/// they are there is checked from inside by `istio-validation` (CHECK). STATUS succeeds even without the agent:
/// a node whose network is said to be unready starts no pods, the agent's among them.
pub fn run(invocation: &Invocation, configuration: &str) -> Result<String, Error> {
    match invocation.command {
        Command::Add => add(invocation, configuration),
        Command::Version => {
            let version = answered_version(configuration);
            Ok(json!({"cniVersion": version, "supportedVersions": VERSIONS}).to_string())
        }
        Command::Other => Ok(String::new()),
    }
}

fn add(invocation: &Invocation, configuration: &str) -> Result<String, Error> {
    let configuration = Configuration::parse(configuration)?;
    let result = configuration.previous_result()?.to_owned();
    let settings = &configuration.settings;
    // Runtimes are used without Kubernetes too; no control plane injects such containers.
    let Some(pod) = &invocation.pod else {
        return Ok(result);
    };
    if settings.exclude_namespaces.contains(&pod.namespace) {
        return Ok(result);
    }
    let Some(namespace_file) = &invocation.namespace_file else {
        return Err(Error::new(Code::InvalidEnvironment, "CNI_NETNS is not set"));
    };
    match ask(&settings.socket, pod, namespace_file)? {
        Ok(Answer::Captured | Answer::Skipped { .. }) => Ok(result),
        Ok(Answer::Failed { error }) => Err(Error::new(
            Code::Refused,
            format!("pod \"{}/{}\": {error}", pod.namespace, pod.name),
        )),
        Err(_) if pod.namespace == settings.agent_namespace => Ok(result),
        Err(error) => Err(unreachable(pod, &error)),
    }
}

fn ask(
    socket: &Path,
    pod: &PodName,
    namespace_file: &Path,
) -> Result<Result<Answer, AskError>, Error> {
    let namespace = File::open(namespace_file).map_err(|error| {
        let message = format!("cannot open \"{}\": {error}", namespace_file.display());
        Error::new(Code::Io, message)
    })?;
    let request = Request {
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        uid: pod.uid.clone(),
    };
    Ok(protocol::ask(socket, &request, &namespace))
}

/// The one message that people meet: pods that wait after a restart of their node.
fn unreachable(pod: &PodName, error: &AskError) -> Error {
    let message = format!(
        "pod \"{}/{}\" waits for the mesh's node agent, without which its traffic would not be captured \
         ({error}): see the pods of DaemonSet \"weft-cni-node\" on this node",
        pod.namespace, pod.name
    );
    Error::new(Code::TryAgainLater, message)
}
