//! What plugin and agent say to each other: one request and one answer for a connection, each a line of JSON. The
//! request carries the pod's network namespace as an open file, so the agent needs no path of the host.
//!
//! The two may differ by a version while nodes are upgraded: unknown fields are ignored, new ones are optional.

use std::{
    fs::File,
    io::{BufRead, BufReader, IoSlice, Read},
    mem::MaybeUninit,
    os::{fd::AsFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde::{Deserialize, Serialize};

/// The longest line; names of Kubernetes have 253 bytes at most, messages are sentences.
pub const LINE_BYTES_MAX: usize = 16 * 1024;

/// How long the agent may take: it asks the API server and runs one program. Runtimes wait for minutes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A pod gets its network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID, if the runtime says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// What the agent did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "camelCase")]
pub enum Answer {
    /// Rules are in force.
    Captured,
    /// The pod needs none.
    Skipped {
        /// Why.
        reason: String,
    },
    /// The pod needs rules, or may need them, and has none.
    Failed {
        /// Why.
        error: String,
    },
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error("cannot connect to \"{}\": {error}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The connection broke.
    #[error("the agent did not answer: {0}")]
    Broken(std::io::Error),
    /// Something else was said.
    #[error("the agent's answer cannot be understood: {0}")]
    Answer(serde_json::Error),
}

/// Asks the agent to set up the pod whose network namespace is `namespace`.
pub fn ask(socket: &Path, request: &Request, namespace: &File) -> Result<Answer, AskError> {
    let stream = UnixStream::connect(socket).map_err(|error| AskError::Connect {
        path: socket.to_owned(),
        error,
    })?;
    let line = exchange(&stream, request, namespace).map_err(AskError::Broken)?;
    serde_json::from_str(&line).map_err(AskError::Answer)
}

fn exchange(stream: &UnixStream, request: &Request, namespace: &File) -> std::io::Result<String> {
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    send_with_file(stream, &line, namespace)?;
    let mut answer = String::new();
    BufReader::new(stream.take(LINE_BYTES_MAX as u64)).read_line(&mut answer)?;
    Ok(answer)
}

/// The file goes with the first byte; a line is far smaller than the socket's buffer, so it is sent at once.
fn send_with_file(stream: &UnixStream, line: &[u8], file: &File) -> std::io::Result<()> {
    let files = [file.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&files));
    let sent = sendmsg(
        stream,
        &[IoSlice::new(line)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    if sent == line.len() {
        return Ok(());
    }
    Err(std::io::ErrorKind::WriteZero.into())
}
