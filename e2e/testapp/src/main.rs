//! Starts the server or client that the command line names.

use clap::Parser;
use testapp::{
    args::{Args, Command},
    capture, client, echo, httpbin, serve, tcp_echo,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::TcpEcho(args) => tcp_echo::run(&args).await,
        Command::Httpbin(args) => httpbin::run(&args).await,
        Command::Echo(args) => echo::run(&args).await,
        Command::Client(args) => client::print(args).await,
        Command::Capture(args) => capture::run(&args),
        Command::Pause => {
            serve::end_signal()?.await;
            Ok(())
        }
    }
}
