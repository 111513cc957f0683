//! The command line.

use clap::{Parser, Subcommand};

use crate::{
    capture::CaptureArgs, client::ClientArgs, echo::EchoArgs, httpbin::HttpbinArgs,
    tcp_echo::TcpEchoArgs,
};

/// The application of the test suites.
#[derive(Debug, Parser)]
#[command(name = "testapp")]
pub struct Args {
    /// What to be.
    #[command(subcommand)]
    pub command: Command,
}

/// What the application can be.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answer each line with a prefix, as the tcp-echo sample does.
    TcpEcho(TcpEchoArgs),
    /// Answer as httpbin does, for its most used paths.
    Httpbin(HttpbinArgs),
    /// Serve every protocol, steered by the request.
    Echo(EchoArgs),
    /// Send requests and print one JSON report.
    Client(Box<ClientArgs>),
    /// Look at the TCP segments of this network namespace and print one JSON object.
    Capture(CaptureArgs),
    /// Do nothing until told to end: a place to run clients in.
    Pause,
}
