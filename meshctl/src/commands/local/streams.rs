//! `logs` and `exec`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use http_body_util::BodyExt;
use local::{
    api::{ExecRequest, LogsRequest},
    client::Client,
    frame::Frame,
};
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::PodArgs;
use crate::output;

#[derive(Debug, clap::Args)]
pub(super) struct LogsArgs {
    #[command(flatten)]
    pod: PodArgs,
    /// Go on with what is written later
    #[arg(short, long)]
    follow: bool,
    /// Only this many lines from the end
    #[arg(long, value_name = "LINES")]
    tail: Option<usize>,
}

#[derive(Debug, clap::Args)]
pub(super) struct ExecArgs {
    #[command(flatten)]
    pod: PodArgs,
    /// Pass standard input on; without it the program has none
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Program and arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

pub(super) async fn logs(args: &LogsArgs, client: &Client) -> Result<ExitCode> {
    let request = LogsRequest {
        pod: args.pod.pod_ref(),
        container: args.pod.container.clone(),
        follow: args.follow,
        tail: args.tail,
    };
    let mut body = client.logs(&request).await?;
    while let Some(frame) = body.frame().await {
        if let Ok(bytes) = frame?.into_data() {
            output::raw(&bytes)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn exec(args: &ExecArgs, client: &Client) -> Result<ExitCode> {
    let request = ExecRequest {
        pod: args.pod.pod_ref(),
        container: args.pod.container.clone(),
        argv: args.command.clone(),
    };
    let stream = client.exec(&request).await?;
    let (mut reader, mut writer) = tokio::io::split(stream);
    // A program that ends without reading its input is no error; its code comes with the output.
    let input = async {
        if args.stdin {
            let _ = pass_stdin(&mut writer).await;
        }
        let _ = Frame::Stdin(Vec::new()).write(&mut writer).await;
        std::future::pending::<Result<i32>>().await
    };
    let output = async {
        loop {
            match Frame::read(&mut reader).await? {
                Some(Frame::Stdout(bytes)) => output::raw(&bytes)?,
                Some(Frame::Stderr(bytes)) => output::raw_error(&bytes)?,
                Some(Frame::Exit(code)) => return Ok(code),
                Some(Frame::Stdin(_)) => {}
                None => bail!("the program's stream broke off"),
            }
        }
    };
    let code = tokio::select! {
        code = output => code?,
        code = input => code?,
    };
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

async fn pass_stdin(writer: &mut (impl AsyncWrite + Unpin)) -> Result<()> {
    let mut stdin = tokio::io::stdin();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stdin.read(&mut buffer).await? {
            0 => return Ok(()),
            length => {
                Frame::Stdin(buffer[..length].to_vec())
                    .write(writer)
                    .await?
            }
        }
    }
}
