//! The command line of `bench-control-plane`.

use std::{fmt, path::PathBuf};

use clap::{Parser, ValueEnum};

/// Measures the control plane in a synthetic mesh, with a real API server.
#[derive(Debug, Clone, Parser)]
#[command(name = "bench-control-plane")]
pub struct Args {
    /// Services of the mesh; without it, several sizes are measured one after another
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub services: Option<u32>,
    /// Simulated sidecars
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub proxies: Option<u32>,
    /// Endpoints of each service
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub endpoints: u32,
    /// Which endpoints are pods: those of the proxies, as the budgets are set for, or all, as in most clusters
    #[arg(long, value_enum, default_value = "proxies")]
    pub pods: Pods,
    /// How often each change is made; the table has the medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// Where meshd is
    #[arg(long, default_value = "target/release")]
    pub bin_dir: PathBuf,
    /// Where etcd and kube-apiserver are
    #[arg(long)]
    pub kubernetes_bin: PathBuf,
    /// Definitions of the mesh's own kinds
    #[arg(long, default_value = "charts/base/crds")]
    pub definitions: PathBuf,
    /// Where the logs of the programs stay; without it they are removed at the end
    #[arg(long)]
    pub logs: Option<PathBuf>,
    /// Fail when a budget is not met
    #[arg(long)]
    pub check: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// Measure on the host's loopback instead of a network namespace
    #[arg(long)]
    pub host_network: bool,
}

/// Which endpoints are pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub enum Pods {
    /// Those with a simulated sidecar.
    Proxies,
    /// All.
    All,
}

/// One mesh with its proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Size {
    /// Services of the mesh.
    pub services: u32,
    /// Endpoints of each.
    pub endpoints: u32,
    /// Simulated sidecars.
    pub proxies: u32,
    /// Which endpoints are pods.
    pub pods: Pods,
}

/// What is measured where nothing else is asked for. The last one is the mesh that the budgets are for.
const SIZES: [(u32, u32); 4] = [(100, 100), (1000, 100), (4000, 100), (1000, 1000)];

impl Args {
    /// The meshes to measure.
    pub fn sizes(&self) -> Vec<Size> {
        let size = |services, proxies| Size {
            services,
            endpoints: self.endpoints,
            proxies,
            pods: self.pods,
        };
        match (self.services, self.proxies) {
            (None, None) => SIZES.map(|(s, p)| size(s, p)).to_vec(),
            (services, proxies) => vec![size(services.unwrap_or(1000), proxies.unwrap_or(100))],
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} / {}", self.services, self.proxies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(more: &[&str]) -> Vec<String> {
        let base = ["bench-control-plane", "--kubernetes-bin", "bin"];
        let args = Args::parse_from(base.iter().chain(more));
        args.sizes().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn one_size_is_measured_where_it_is_named() {
        let all = ["100 / 100", "1000 / 100", "4000 / 100", "1000 / 1000"];
        assert_eq!(sizes(&[]), all);
        assert_eq!(sizes(&["--services", "50"]), ["50 / 100"]);
        assert_eq!(sizes(&["--services", "50", "--proxies", "7"]), ["50 / 7"]);
    }
}
