//! A proxy that only forwards: the least that one on tokio and hyper can cost.

use bench::floor::{self, args::Args};
use clap::Parser;

fn main() -> anyhow::Result<()> {
    floor::run(&Args::parse())
}
