//! The agent's side of the socket.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use cni_plugin::protocol::{LINE_BYTES_MAX, Request};
use mesh_runtime::drain;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};

use crate::setup::Setup;

/// Plugins send their request as soon as they are connected.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait when connections cannot be accepted, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket at which plugins ask.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
}

impl Server {
    /// Listens at `path`, for root only. A socket that an earlier agent left behind is replaced.
    pub fn bind(path: &Path) -> anyhow::Result<Self> {
        let failed = || format!("cannot listen on \"{}\"", path.display());
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(failed);
            }
            _ => {}
        }
        let listener = UnixListener::bind(path).with_context(failed)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
            .with_context(failed)?;
        Ok(Self { listener })
    }

    /// Answers until the drain begins; who has asked by then is answered.
    pub async fn run(self, setup: Setup, drain: drain::Watch) -> io::Result<()> {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = drain.signaled() => return Ok(()),
            };
            match accepted {
                Ok((stream, _)) => {
                    let setup = setup.clone();
                    drain.spawn(async move {
                        if let Err(error) = serve(&stream, &setup).await {
                            tracing::warn!(error = format!("{error:#}"), "plugin is not answered");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a plugin's connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn serve(stream: &UnixStream, setup: &Setup) -> anyhow::Result<()> {
    let received = tokio::time::timeout(REQUEST_TIMEOUT, receive(stream)).await;
    let (request, namespace) = received.context("no request came")??;
    let answer = setup.answer(&request, namespace).await;
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    let mut rest = line.as_slice();
    while !rest.is_empty() {
        stream.writable().await?;
        match stream.try_write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("the plugin is gone"),
        }
    }
    Ok(())
}

async fn receive(stream: &UnixStream) -> anyhow::Result<(Request, OwnedFd)> {
    let mut line = Vec::new();
    let mut file = None;
    while line.last() != Some(&b'\n') {
        let piece = || receive_piece(stream, &mut line, &mut file);
        let count = stream.async_io(Interest::READABLE, piece).await?;
        if count == 0 || line.len() > LINE_BYTES_MAX {
            bail!("the request is not a line of {LINE_BYTES_MAX} bytes at most");
        }
    }
    let request = serde_json::from_slice(&line).context("the request cannot be understood")?;
    let file = file.context("the request came without a network namespace")?;
    Ok((request, file))
}

fn receive_piece(
    stream: &UnixStream,
    line: &mut Vec<u8>,
    file: &mut Option<OwnedFd>,
) -> io::Result<usize> {
    let mut buffer = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffers = [IoSliceMut::new(&mut buffer)];
    let received = recvmsg(stream, &mut buffers, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = message {
            *file = files.last().or(file.take());
        }
    }
    line.extend_from_slice(&buffer[..received.bytes]);
    Ok(received.bytes)
}
