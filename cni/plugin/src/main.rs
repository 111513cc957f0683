//! `weft-cni`: environment and standard input in, result or error on standard output.

use std::{
    io::{Read, Write},
    process::ExitCode,
};

use cni_plugin::{
    error::{Code, Error},
    invocation::Invocation,
    run,
};

fn main() -> ExitCode {
    let mut configuration = String::new();
    let read = std::io::stdin().read_to_string(&mut configuration);
    let outcome = read
        .map_err(|error| Error::new(Code::Io, format!("cannot read standard input: {error}")))
        .and_then(|_| {
            let invocation = Invocation::from_env(|name| std::env::var(name).ok())?;
            run(&invocation, &configuration)
        });
    let (answer, code) = match outcome {
        Ok(answer) => (answer, ExitCode::SUCCESS),
        Err(error) => (error.to_json(&configuration), ExitCode::FAILURE),
    };
    // A runtime that does not listen gets the exit code.
    let _ = std::io::stdout().write_all(answer.as_bytes());
    code
}
