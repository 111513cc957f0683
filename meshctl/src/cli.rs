//! What can be asked.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::output::Format;

/// The command line of the Weft service mesh.
#[derive(Debug, Parser)]
#[command(
    name = "meshctl",
    version,
    propagate_version = true,
    max_term_width = 110
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run and steer a mesh on this machine.
    Local(crate::commands::local::Local),
    /// Show which proxies are connected and whether they have their configuration.
    #[command(visible_alias = "ps")]
    ProxyStatus(ProxyStatus),
    /// Show the configuration of a proxy.
    #[command(visible_alias = "pc")]
    ProxyConfig(ProxyConfig),
    /// Find what is wrong with configuration: of files, or of the running mesh.
    Analyze(Analyze),
    /// Check files one object at a time.
    Validate(Validate),
    /// Add sidecars to the workloads of a manifest.
    Inject(Inject),
    /// Print a completion script.
    Completion(Completion),
}

/// Which mesh.
#[derive(Debug, Clone, Args)]
pub struct MeshName {
    /// Name of the local mesh.
    #[arg(long, env = "WEFT_LOCAL_NAME", default_value = "default")]
    pub name: String,
    /// State directory of the local mesh, if it is not the usual one.
    #[arg(long, env = "WEFT_LOCAL_STATE")]
    pub state: Option<PathBuf>,
}

/// `proxy-status`.
#[derive(Debug, Args)]
pub struct ProxyStatus {
    /// Only this proxy: POD or POD.NAMESPACE.
    pub pod: Option<String>,
    /// Format.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
    /// Which mesh.
    #[command(flatten)]
    pub mesh: MeshName,
}

/// `proxy-config`.
#[derive(Debug, Args)]
pub struct ProxyConfig {
    /// What to show.
    #[arg(value_enum)]
    pub part: Part,
    /// POD or POD.NAMESPACE; the beginning of a name is enough if only one pod has it.
    pub pod: String,
    /// Namespace of the pod.
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// Format.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
    /// Which mesh.
    #[command(flatten)]
    pub mesh: MeshName,
}

/// Parts of a proxy's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Listeners and their filter chains.
    #[value(alias = "listener", alias = "l")]
    Listeners,
    /// Route configurations, virtual hosts and routes.
    #[value(alias = "route", alias = "r")]
    Routes,
    /// Clusters.
    #[value(alias = "cluster", alias = "c")]
    Clusters,
    /// Endpoints of clusters.
    #[value(alias = "endpoint", alias = "ep")]
    Endpoints,
    /// Certificates.
    #[value(alias = "secret", alias = "s")]
    Secrets,
    /// Everything.
    All,
}

/// `analyze`.
#[derive(Debug, Args)]
pub struct Analyze {
    /// Files and directories; without any, the running mesh is asked.
    pub paths: Vec<PathBuf>,
    /// Format.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
    /// Which mesh.
    #[command(flatten)]
    pub mesh: MeshName,
}

/// `validate`.
#[derive(Debug, Args)]
pub struct Validate {
    /// Files and directories.
    #[arg(short, long = "filename", required = true, num_args = 1..)]
    pub files: Vec<PathBuf>,
    /// Format.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

/// `inject`.
#[derive(Debug, Args)]
pub struct Inject {
    /// The manifest; `-` for standard input.
    #[arg(short, long = "filename")]
    pub file: PathBuf,
    /// Namespace of objects that name none.
    #[arg(short, long, default_value = "default")]
    pub namespace: String,
    /// Format.
    #[arg(short, long, value_enum, default_value_t = Format::Yaml)]
    pub output: Format,
}

/// `completion`.
#[derive(Debug, Args)]
pub struct Completion {
    /// The shell.
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}
