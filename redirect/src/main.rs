//! `weft-redirect`: sets up traffic capture or fails, as init container and as tool; checks it where a CNI plugin
//! has set it up.

use std::{error::Error, io::Write, process::ExitCode};

use clap::Parser;
use redirect::{
    Applied, ApplyError, ValidationError, apply, args::Args, cleanup, validate,
    validate::NOT_CAPTURED,
};

fn main() -> ExitCode {
    let args = Args::parse();
    if !args.skip_rule_apply
        && let Err(error) = run(&args)
    {
        return fail(&error, ExitCode::FAILURE);
    }
    if !args.run_validation {
        return ExitCode::SUCCESS;
    }
    match validate(args.inbound_port()) {
        Ok(()) => {
            eprintln!("capture rules are in force");
            ExitCode::SUCCESS
        }
        Err(error @ ValidationError::NotCaptured) => fail(&error, ExitCode::from(NOT_CAPTURED)),
        Err(error) => fail(&error, ExitCode::FAILURE),
    }
}

fn run(args: &Args) -> Result<(), ApplyError> {
    let applied = if args.cleanup {
        cleanup(args.tool(), args.routing(), args.dry_run)?
    } else {
        // Without the file there is no resolver whose traffic could be captured.
        let resolv_conf = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        apply(&args.capture(&resolv_conf)?, args.tool(), args.dry_run)?
    };
    if args.dry_run {
        print(&applied);
    } else {
        let done = if args.cleanup { "removed" } else { "applied" };
        eprintln!("capture rules {done} with {:?}", applied.tool);
    }
    Ok(())
}

/// A reader that leaves early has seen what it wanted.
fn print(applied: &Applied) {
    let mut out = std::io::stdout().lock();
    for (program, script) in &applied.scripts {
        let _ = writeln!(out, "# input of {program}\n{script}");
    }
}

fn fail(error: &dyn Error, code: ExitCode) -> ExitCode {
    eprintln!("weft-redirect: {}", chain(error));
    code
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
