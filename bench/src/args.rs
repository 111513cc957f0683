//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};

/// Measures data planes side by side.
#[derive(Debug, Clone, Parser)]
#[command(name = "bench")]
pub struct Args {
    /// Scenarios to run; all where absent.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub scenario: Vec<Scenario>,
    /// Contenders to run; those whose binary is there where absent.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub only: Vec<Proxy>,
    /// How often each contender takes its turn.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// The length of each measurement in seconds.
    #[arg(long, default_value_t = 4.0)]
    pub seconds: f64,
    /// Where the Weft proxy, the control plane and the floor are.
    #[arg(long, default_value = "target/release")]
    pub bin_dir: PathBuf,
    /// The Envoy to compare with.
    #[arg(long, env = "WEFT_ENVOY", default_value = "envoy")]
    pub envoy: PathBuf,
    /// Connections at saturation.
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Measure on the host's loopback instead of a network namespace.
    #[arg(long)]
    pub host_network: bool,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// HTTP/1.1 to HTTP/1.1 through one proxy.
    A,
    /// The sidecar pair, with mTLS and HTTP/2 between.
    B,
    /// h2c to h2c through one proxy, 64 streams on one connection.
    C,
    /// TCP: bulk, and new connections.
    D,
    /// Memory: idle, and with 1,000 connections.
    Memory,
    /// The control plane under the most expensive reviews; only where its binary is.
    Reviews,
}

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Proxy {
    /// `weft-proxy run -c`.
    Weft,
    /// `envoy -c`.
    Envoy,
    /// `bench-floor`, which only forwards; not in the scenario of plain TCP.
    Floor,
}

impl Args {
    /// The scenarios to run, in order.
    pub fn scenarios(&self) -> Vec<Scenario> {
        match self.scenario.is_empty() {
            true => {
                let all = Scenario::value_variants().iter().copied();
                let can_run = |one: &Scenario| *one != Scenario::Reviews || self.meshd().exists();
                all.filter(can_run).collect()
            }
            false => self.scenario.clone(),
        }
    }

    /// The contenders that can run, in the order of their turns.
    pub fn contenders(&self) -> Vec<Proxy> {
        if !self.only.is_empty() {
            return self.only.clone();
        }
        let mut found = Vec::new();
        if self.weft().exists() {
            found.push(Proxy::Weft);
        }
        if self.envoy.exists() {
            found.push(Proxy::Envoy);
        }
        if self.floor().exists() {
            found.push(Proxy::Floor);
        }
        found
    }

    /// The Weft proxy.
    pub fn weft(&self) -> PathBuf {
        self.bin_dir.join("weft-proxy")
    }

    /// The proxy that only forwards.
    pub fn floor(&self) -> PathBuf {
        self.bin_dir.join("bench-floor")
    }

    /// The control plane.
    pub fn meshd(&self) -> PathBuf {
        self.bin_dir.join("meshd")
    }

    /// The length of each measurement.
    pub fn length(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.clamp(0.2, 60.0))
    }
}

impl Proxy {
    /// The contender's name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weft => "weft",
            Self::Envoy => "envoy",
            Self::Floor => "floor",
        }
    }

    /// Whether a scenario is for it.
    pub fn runs(self, scenario: Scenario) -> bool {
        self != Self::Floor || scenario != Scenario::D
    }
}
