//! The control plane under measurement: a real API server with a synthetic mesh, simulated sidecars, and the time,
//! memory and bytes that configuring them and changing the mesh takes.
//!
//! The control plane has core 0 for itself, everything else shares core 1. Time counts from the write at the API
//! server to the arrival at the sidecars, so it holds the API server's part as well.

mod api;
mod api_server;
pub mod args;
mod fleet;
mod measure;
mod mesh;
mod meshd;
mod proxy;
pub mod report;
mod wire;

use std::{fs, path::Path};

use anyhow::Context;
use tokio::task::LocalSet;

use self::{
    args::{Args, Size},
    report::{Figures, Report},
};

/// Measures every size, one after another, each with programs of its own. Where one cannot be measured, the report is
/// of those before it.
pub fn run(args: &Args) -> (Report, anyhow::Result<()>) {
    let mut figures = Vec::new();
    let mut outcome = Ok(());
    for size in args.sizes() {
        let measured = run_one(args, size);
        match measured.with_context(|| format!("{size}; --logs DIR keeps the logs")) {
            Ok(one) => figures.push(one),
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
    }
    (Report::new(&figures), outcome)
}

fn run_one(args: &Args, size: Size) -> anyhow::Result<Figures> {
    let dir = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let measured = LocalSet::new().block_on(&runtime, measure::measure(args, size, dir.path()));
    if let Some(logs) = &args.logs {
        let name = format!("{}-{}", size.services, size.proxies);
        keep_logs(dir.path(), &logs.join(name))?;
    }
    measured
}

fn keep_logs(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for file in fs::read_dir(from)? {
        let path = file?.path();
        if let (Some("log"), Some(name)) =
            (path.extension().and_then(|e| e.to_str()), path.file_name())
        {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}
