//! `tcp-echo PORTS PREFIX`: answers each line with the prefix, a space and the line.

use clap::Args;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
    task::JoinSet,
};

use crate::serve;

/// The longest line that is answered.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Which ports to serve, and the prefix.
#[derive(Debug, Clone, Args)]
pub struct TcpEchoArgs {
    /// Ports, separated by commas.
    #[arg(value_delimiter = ',', required = true)]
    pub ports: Vec<u16>,
    /// The first word of every answer.
    pub prefix: String,
}

/// Serves until told to end.
pub async fn run(args: &TcpEchoArgs) -> anyhow::Result<()> {
    let mut servers = JoinSet::new();
    for port in &args.ports {
        let listener = serve::listen(*port).await?;
        let prefix = args.prefix.clone();
        servers.spawn(serve::accept(listener, move |stream| {
            connection(stream, prefix.clone())
        }));
    }
    serve::end_signal()?.await;
    Ok(())
}

async fn connection(mut stream: TcpStream, prefix: String) {
    let (read, write) = stream.split();
    // The peer's end of the connection is the normal end of this one.
    let _ = answer_lines(read, write, &prefix).await;
}

async fn answer_lines(
    read: impl AsyncRead + Unpin,
    mut write: impl AsyncWrite + Unpin,
    prefix: &str,
) -> std::io::Result<()> {
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = LINE_BYTES_MAX as u64;
        let mut bounded = tokio::io::AsyncReadExt::take(&mut read, limit);
        bounded.read_until(b'\n', &mut line).await?;
        if line.last() != Some(&b'\n') {
            return Ok(());
        }
        let answer = [prefix.as_bytes(), b" ", &line].concat();
        write.write_all(&answer).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_line_comes_back_with_the_prefix() {
        let mut out = Vec::new();
        answer_lines(&b"hello\nyou\nunfinished"[..], &mut out, "one")
            .await
            .unwrap();
        assert_eq!(out, b"one hello\none you\n");
    }
}
