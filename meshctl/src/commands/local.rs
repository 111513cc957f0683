//! `meshctl local`: a mesh on this machine.

mod objects;
mod streams;
mod table;
mod up;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Subcommand;
use local::{
    api::{ControlAction, ControlRequest, PodRef},
    cleanup,
    client::{Client, ClientError},
    state::StateDir,
};

use crate::{cluster::Mesh, output};

/// Arguments of `local`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    mesh: Mesh,
}

/// A pod, and a container in it.
#[derive(Debug, Clone, clap::Args)]
pub struct PodArgs {
    /// Pod, or the workload it belongs to
    pod: String,
    /// Namespace of the pod; all are searched without it
    #[arg(short, long)]
    namespace: Option<String>,
    /// Container; "proxy" is the sidecar
    #[arg(short, long)]
    container: Option<String>,
}

impl PodArgs {
    fn pod_ref(&self) -> PodRef {
        PodRef {
            namespace: self.namespace.clone(),
            pod: self.pod.clone(),
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a mesh, with the manifests of a directory
    Up(up::UpArgs),
    /// End the mesh
    Down,
    /// Apply manifests
    Apply(objects::ApplyArgs),
    /// Delete what manifests name
    Delete(objects::DeleteArgs),
    /// Show objects
    Get(objects::GetArgs),
    /// Replace all pods of a workload
    Restart(objects::RestartArgs),
    /// Show a container's log
    Logs(streams::LogsArgs),
    /// Run a program in a pod
    Exec(streams::ExecArgs),
    /// Kill a pod's containers and keep them down
    Stop(PodArgs),
    /// Start a pod's containers again
    Start(PodArgs),
    /// Send a signal to a pod's containers
    Kill {
        #[command(flatten)]
        pod: PodArgs,
        /// Number of the signal
        #[arg(short, long, default_value_t = 9)]
        signal: i32,
    },
}

/// Runs a command.
pub async fn run(args: Args) -> Result<ExitCode> {
    let mesh = args.mesh;
    match args.command {
        Command::Up(args) => up::run(args, &mesh).await,
        Command::Down => down(&mesh).await,
        Command::Apply(args) => objects::apply(&args, &mesh.client()?).await,
        Command::Delete(args) => objects::delete(&args, &mesh.client()?).await,
        Command::Get(args) => objects::get(&args, &mesh.client()?).await,
        Command::Restart(args) => objects::restart(&args, &mesh.client()?).await,
        Command::Logs(args) => streams::logs(&args, &mesh.client()?).await,
        Command::Exec(args) => streams::exec(&args, &mesh.client()?).await,
        Command::Stop(pod) => control(&pod, ControlAction::Stop, "stopped", &mesh).await,
        Command::Start(pod) => control(&pod, ControlAction::Start, "started", &mesh).await,
        Command::Kill { pod, signal } => {
            control(&pod, ControlAction::Signal(signal), "signalled", &mesh).await
        }
    }
}

async fn control(
    pod: &PodArgs,
    action: ControlAction,
    done: &str,
    mesh: &Mesh,
) -> Result<ExitCode> {
    let request = ControlRequest {
        pod: pod.pod_ref(),
        container: pod.container.clone(),
        action,
    };
    let name = mesh.client()?.control(&request).await?;
    output::line(&format!("pod/{name} {done}"))?;
    Ok(ExitCode::SUCCESS)
}

/// Ends the mesh in order; one that does not answer is killed. What it left is removed.
async fn down(mesh: &Mesh) -> Result<ExitCode> {
    let state = mesh.state()?;
    match Client::new(state.clone()).down().await {
        Ok(_) => wait_until_gone(&state).await,
        Err(ClientError::NotRunning { .. })
            if cleanup::running(&state).is_none() && !state.root().exists() =>
        {
            bail!("no mesh is running in \"{}\"", state.root().display())
        }
        Err(_) => {}
    }
    cleanup::kill(&state)?;
    output::line(&format!("mesh \"{}\" is gone", mesh.name()))?;
    Ok(ExitCode::SUCCESS)
}

/// Waits for an orderly end, within reason.
async fn wait_until_gone(state: &StateDir) {
    for _ in 0..600 {
        if cleanup::running(state).is_none() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
