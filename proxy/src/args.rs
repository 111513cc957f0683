//! Command line of `weft-proxy`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

/// Sidecar and gateway of the mesh, and a proxy for any Envoy bootstrap.
#[derive(Debug, Parser)]
#[command(name = "weft-proxy", version)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Log filter, e.g. `info,proxy_upstream=debug`.
    #[arg(long, global = true, env = "WEFT_LOG", default_value = mesh_runtime::log::DEFAULT_FILTER)]
    pub log_level: String,
    /// Log format: text or json.
    #[arg(long, global = true, env = "WEFT_LOG_FORMAT", default_value = "text")]
    pub log_format: mesh_runtime::log::Format,
}

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run an Envoy bootstrap.
    Run(Run),
    /// Run beside an application: certificates, configuration and status like Istio's agent.
    Sidecar(Agent),
    /// Run as a gateway.
    Router(Agent),
    /// Wait until the proxy of this pod is ready.
    Wait(Wait),
}

/// `run`.
#[derive(Debug, ClapArgs)]
pub struct Run {
    /// The bootstrap, YAML or JSON.
    #[arg(short, long)]
    pub config_path: PathBuf,
    /// How to run.
    #[command(flatten)]
    pub data_plane: DataPlane,
}

/// `sidecar` and `router`.
#[derive(Debug, ClapArgs)]
pub struct Agent {
    /// How to run.
    #[command(flatten)]
    pub data_plane: DataPlane,
    /// Who handles the traffic: this process, or an Envoy that it starts.
    #[arg(long = "data-plane", env = "WEFT_DATA_PLANE", value_enum, default_value_t = DataPlaneKind::Weft)]
    pub kind: DataPlaneKind,
    /// The program for `--data-plane envoy`.
    #[arg(long, env = "WEFT_ENVOY_PATH", default_value = "envoy")]
    pub envoy_path: PathBuf,
}

/// `--data-plane`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DataPlaneKind {
    /// This process.
    Weft,
    /// An Envoy process.
    Envoy,
}

/// What both ways of running share.
#[derive(Debug, Clone, ClapArgs)]
pub struct DataPlane {
    /// Worker threads; by default one per CPU that the process may use.
    #[arg(long)]
    pub concurrency: Option<usize>,
    /// Seconds that connections of a changed listener may take to finish.
    #[arg(long, default_value_t = 45)]
    pub drain_time_s: u64,
    /// Seconds between SIGTERM and the end of connections that do not finish by themselves.
    #[arg(long)]
    pub termination_drain_s: Option<u64>,
}

impl DataPlane {
    /// Worker threads, at least one.
    pub fn workers(&self) -> usize {
        let available = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        match self.concurrency {
            None | Some(0) => available(),
            Some(workers) => workers,
        }
    }

    /// `--drain-time-s`.
    pub fn drain_time(&self) -> Duration {
        Duration::from_secs(self.drain_time_s)
    }
}

/// `wait`.
#[derive(Debug, ClapArgs)]
pub struct Wait {
    /// What to ask.
    #[arg(long, default_value = "http://localhost:15021/healthz/ready")]
    pub url: String,
    /// Seconds after which to give up.
    #[arg(long, default_value_t = 60)]
    pub timeout_seconds: u64,
    /// Milliseconds between two questions.
    #[arg(long, default_value_t = 500)]
    pub period_millis: u64,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn concurrency_is_at_least_one() {
        let args =
            Args::try_parse_from(["weft-proxy", "run", "--concurrency", "0", "-c", "b.yaml"]);
        let Command::Run(run) = args.unwrap().command else {
            panic!("another command");
        };
        assert!(run.data_plane.workers() >= 1);
    }
}
