//! `weft-redirect`: init container and tool that sets up traffic capture, or fails.

use std::{error::Error, io::Write, process::ExitCode};

use clap::Parser;
use redirect::{Applied, ApplyError, apply, args::Args, cleanup};

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(applied) if args.dry_run => print(&applied),
        Ok(applied) => {
            let done = if args.cleanup { "removed" } else { "applied" };
            eprintln!("capture rules {done} with {:?}", applied.tool);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("weft-redirect: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<Applied, ApplyError> {
    if args.cleanup {
        return cleanup(args.tool(), args.routing(), args.dry_run);
    }
    // Without the file there is no resolver whose traffic could be captured.
    let resolv_conf = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    apply(&args.capture(&resolv_conf)?, args.tool(), args.dry_run)
}

fn print(applied: &Applied) -> ExitCode {
    let mut out = std::io::stdout().lock();
    for (program, script) in &applied.scripts {
        if writeln!(out, "# input of {program}\n{script}").is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}
