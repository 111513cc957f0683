//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Runs the end-to-end suite.
#[derive(Debug, Clone, Parser)]
#[command(name = "e2e")]
pub struct Args {
    /// Data planes to run with; all whose binaries are there where absent.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub proxy: Vec<DataPlane>,
    /// Cases to run, by name; all where absent.
    #[arg(long = "case", value_delimiter = ',')]
    pub cases: Vec<String>,
    /// Where the mesh's binaries are.
    #[arg(long, default_value = "target/quick")]
    pub bin_dir: PathBuf,
    /// The Envoy binary.
    #[arg(long, env = "WEFT_ENVOY")]
    pub envoy: Option<PathBuf>,
    /// Use Istio's samples, in this directory, instead of the repository's own.
    #[arg(long, env = "WEFT_ISTIO_SAMPLES")]
    pub istio_samples: Option<PathBuf>,
    /// Keep the mesh running after the last case.
    #[arg(long)]
    pub keep: bool,
    /// Run in the Kubernetes cluster of this kubeconfig, in which the mesh is installed, instead of a local mesh.
    #[arg(long, value_name = "FILE", conflicts_with = "attach")]
    pub kubeconfig: Option<PathBuf>,
    /// That cluster exists for the suite: also run what removes the mesh, with every object of its kinds.
    #[arg(long, requires = "kubeconfig")]
    pub disposable: bool,
    /// Use a local mesh that is already running, by name; it is neither started nor ended.
    #[arg(long)]
    pub attach: Option<String>,
    /// The ingress port of that mesh.
    #[arg(long, requires = "attach", default_value_t = 8080)]
    pub ingress_port: u16,
    /// List the cases and end.
    #[arg(long)]
    pub list: bool,
}

/// What the proxies of a mesh are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DataPlane {
    /// Our proxy everywhere.
    Weft,
    /// An unmodified Envoy everywhere.
    Envoy,
    /// Some of both.
    Mixed,
}

impl DataPlane {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weft => "weft",
            Self::Envoy => "envoy",
            Self::Mixed => "mixed",
        }
    }
}

impl Args {
    /// The data planes to run with.
    pub fn data_planes(&self) -> Vec<DataPlane> {
        if !self.proxy.is_empty() {
            return self.proxy.clone();
        }
        match self.envoy {
            Some(_) if self.kubeconfig.is_none() => {
                vec![DataPlane::Weft, DataPlane::Envoy, DataPlane::Mixed]
            }
            _ => vec![DataPlane::Weft],
        }
    }
}
