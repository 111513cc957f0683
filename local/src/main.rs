//! `weft-local`: the processes that live inside a local mesh's namespaces. Started by `meshctl local`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = args.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["init", state] => local::init::run(state).map_err(|error| error.to_string()),
        ["supervise", state] => local::supervisor::run(state)
            .map(|()| 0)
            .map_err(|error| local::pod::chain(&*error)),
        ["pause"] => local::pause::run()
            .map(|()| 0)
            .map_err(|error| local::pod::chain(&*error)),
        _ => Err("this program is started by \"meshctl local up\"".to_owned()),
    };
    match outcome {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(error) => {
            eprintln!("weft-local: {error}");
            ExitCode::FAILURE
        }
    }
}
