//! The backend: answers as cheaply as possible, on the load generator's core.

use std::{convert::Infallible, io, net::SocketAddr, sync::mpsc, thread};

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::process;

/// The size of each answer's body.
pub const BODY_BYTES: usize = 1024;
const BODY: [u8; BODY_BYTES] = [b'r'; BODY_BYTES];

/// What a backend speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/1.1 without request bodies.
    Http1,
    /// HTTP/2 in clear text.
    H2c,
    /// Reads everything, then says how much: eight bytes, big endian.
    Sink,
    /// Answers one byte with one byte and closes.
    OneByte,
}

/// Starts a backend on a free port of the loopback; it runs to the end of the process.
pub fn start(speaks: Speaks) -> anyhow::Result<SocketAddr> {
    let (started, address) = mpsc::channel();
    thread::Builder::new()
        .name("responder".to_owned())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            process::pin(process::LOAD_CORE)?;
            runtime.block_on(serve(speaks, started))
        })?;
    address.recv().context("the responder did not start")
}

async fn serve(speaks: Speaks, started: mpsc::Sender<SocketAddr>) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let _ = started.send(listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // The peer's end is the normal end.
            let _ = match speaks {
                Speaks::Http1 => http1(stream).await,
                Speaks::H2c => h2c(stream).await,
                Speaks::Sink => sink(stream).await,
                Speaks::OneByte => one_byte(stream).await,
            };
        });
    }
}

async fn http1(mut stream: TcpStream) -> io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY_BYTES}\r\n\r\n");
    let answer = [head.as_bytes(), &BODY].concat();
    let (mut buffer, mut length) = ([0; 16 * 1024], 0);
    loop {
        let read = stream.read(&mut buffer[length..]).await?;
        if read == 0 {
            return Ok(());
        }
        length += read;
        let requests = buffer[..length]
            .windows(4)
            .filter(|end| end == b"\r\n\r\n")
            .count();
        if requests == 0 {
            continue;
        }
        // Load generators and proxies wait for an answer before the next request, so nothing is left over.
        length = 0;
        for _ in 0..requests {
            stream.write_all(&answer).await?;
        }
    }
}

async fn h2c(stream: TcpStream) -> io::Result<()> {
    let answer = async |_: Request<Incoming>| {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(&BODY))))
    };
    http2::Builder::new(TokioExecutor::new())
        .max_concurrent_streams(1000)
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .await
        .map_err(io::Error::other)
}

async fn sink(mut stream: TcpStream) -> io::Result<()> {
    let (mut buffer, mut total) = (vec![0; 256 * 1024], 0_u64);
    loop {
        match stream.read(&mut buffer).await? {
            0 => break,
            read => total += read as u64,
        }
    }
    stream.write_all(&total.to_be_bytes()).await
}

async fn one_byte(mut stream: TcpStream) -> io::Result<()> {
    let byte = stream.read_u8().await?;
    stream.write_u8(byte).await
}
