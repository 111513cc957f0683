//! `fuzz`: runs parsers on mutated inputs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use cap::Cap;
use clap::{Args, Parser, Subcommand};
use fuzz::child::{self, Allocator, Bound};
use fuzz::{Target, run, targets};

/// Ends the process when an input takes more memory than its target may.
#[global_allocator]
static ALLOCATOR: Allocator = Cap::new(std::alloc::System, usize::MAX);

/// Runs parsers on mutated inputs.
#[derive(Parser)]
#[command(name = "fuzz")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the targets.
    List,
    /// Run targets; all where none is named. Ends with 1 if an input broke one.
    Run {
        /// Targets, by name.
        targets: Vec<String>,
        #[command(flatten)]
        pace: Pace,
        /// Targets at the same time; as many as there are processors where absent.
        #[arg(long)]
        jobs: Option<usize>,
        /// Where inputs are kept that break something.
        #[arg(long, default_value = "target/fuzz")]
        out: PathBuf,
    },
    /// Run one input.
    One {
        /// The target's name.
        target: String,
        /// The input.
        file: PathBuf,
    },
    /// Run one target in this process.
    #[command(hide = true)]
    Child {
        target: String,
        #[command(flatten)]
        pace: Pace,
        #[arg(long)]
        under_way: PathBuf,
    },
}

/// How many inputs, and which.
#[derive(Args)]
struct Pace {
    /// Seconds for each target.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Inputs for each target, whichever is reached first.
    #[arg(long)]
    runs: Option<u64>,
    /// What the inputs follow from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Pace {
    fn bound(&self) -> Bound {
        Bound {
            runs: self.runs,
            time: Some(Duration::from_secs(self.seconds)),
        }
    }
}

#[expect(clippy::print_stdout, reason = "a program for the command line")]
fn main() -> Result<ExitCode> {
    match Cli::parse().command {
        Command::List => {
            for target in targets::all() {
                println!("{}", target.name);
            }
        }
        Command::Run {
            targets: names,
            pace,
            jobs,
            out,
        } => {
            let options = run::Options {
                program: std::env::current_exe()?,
                seed: pace.seed,
                bound: pace.bound(),
                jobs: jobs.unwrap_or(std::thread::available_parallelism()?.get()),
                out,
            };
            return broken(&run::all(&chosen(&names)?, &options)?);
        }
        Command::One { target, file } => {
            let input = fs::read(&file).with_context(|| file.display().to_string())?;
            let outcome = child::once(find(&target)?, &ALLOCATOR, input, Path::new("/dev/null"))?;
            println!("outcome {outcome:016x}");
        }
        Command::Child {
            target,
            pace,
            under_way,
        } => {
            let target = find(&target)?;
            let done = child::fuzz(target, &ALLOCATOR, pace.seed, pace.bound(), &under_way)?;
            println!(
                "{:>9} inputs {:>6} outcomes, slowest {} ms",
                done.runs,
                done.kept,
                done.slowest.as_millis()
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn find(name: &str) -> Result<&'static Target> {
    targets::find(name).with_context(|| format!("no target \"{name}\": see \"fuzz list\""))
}

fn chosen(names: &[String]) -> Result<Vec<&'static Target>> {
    match names {
        [] => Ok(targets::all().collect()),
        names => names.iter().map(|name| find(name)).collect(),
    }
}

fn broken(failures: &[run::Failure]) -> Result<ExitCode> {
    for failure in failures {
        eprintln!("\n{failure}");
    }
    Ok(match failures {
        [] => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}
