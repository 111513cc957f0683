//! Where access logs go: one writer thread for all files, fed by the workers' buffers.
//!
//! Workers hand over whole buffers and never wait: when the writer cannot keep up, buffers are dropped and
//! counted.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::access_log::SinkPath;

/// Buffers on their way to the writer: 64 KiB each at most, so about 16 MiB.
const QUEUE_BUFFERS_MAX: usize = 256;

/// One sink, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SinkId(pub(super) u32);

/// All sinks of the process. Clones share them.
#[derive(Debug, Clone)]
pub struct LogSinks {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    paths: Mutex<BTreeMap<SinkPath, SinkId>>,
    queue: SyncSender<Message>,
    dropped: AtomicU64,
}

#[derive(Debug)]
enum Message {
    Open(SinkId, Output),
    Write(SinkId, Vec<u8>),
    Reopen,
    /// Answers when everything before it is written.
    Sync(SyncSender<()>),
}

#[derive(Debug)]
struct Output {
    path: SinkPath,
    file: Option<File>,
}

impl Default for LogSinks {
    fn default() -> Self {
        Self::new()
    }
}

impl LogSinks {
    /// No sinks yet; starts the writer thread, which ends with the last clone.
    pub fn new() -> Self {
        let (queue, messages) = sync_channel(QUEUE_BUFFERS_MAX);
        std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || run(&messages))
            .expect("a thread can be started while the program starts");
        let shared = Shared {
            paths: Mutex::default(),
            queue,
            dropped: AtomicU64::new(0),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Opens a sink, once per path.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(&self, path: SinkPath) -> std::io::Result<SinkId> {
        let mut paths = self
            .shared
            .paths
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = paths.get(&path) {
            return Ok(*id);
        }
        let output = Output::open(path.clone())?;
        let id = SinkId(paths.len() as u32);
        paths.insert(path, id);
        // The writer ends only after the last sender.
        let _ = self.shared.queue.send(Message::Open(id, output));
        Ok(id)
    }

    /// Hands over a buffer of whole lines.
    pub fn write(&self, id: SinkId, lines: Vec<u8>) {
        if self
            .shared
            .queue
            .try_send(Message::Write(id, lines))
            .is_err()
        {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Opens all files again, after they were rotated.
    pub fn reopen(&self) {
        let _ = self.shared.queue.send(Message::Reopen);
    }

    /// Waits until everything handed over so far is written. Blocks: for the end of the program and for tests.
    pub fn sync(&self) {
        let (done, wait) = sync_channel(1);
        if self.shared.queue.send(Message::Sync(done)).is_ok() {
            let _ = wait.recv();
        }
    }

    /// Buffers lost because the writer could not keep up.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

impl Output {
    fn open(path: SinkPath) -> std::io::Result<Self> {
        let file = match &path {
            SinkPath::File(path) => {
                Some(OpenOptions::new().append(true).create(true).open(&**path)?)
            }
            SinkPath::Stdout | SinkPath::Stderr => None,
        };
        Ok(Self { path, file })
    }

    fn write(&mut self, lines: &[u8]) -> std::io::Result<()> {
        match (&self.path, &mut self.file) {
            (SinkPath::Stdout, _) => std::io::stdout().lock().write_all(lines),
            (SinkPath::Stderr, _) => std::io::stderr().lock().write_all(lines),
            (SinkPath::File(_), Some(file)) => file.write_all(lines),
            (SinkPath::File(_), None) => Ok(()),
        }
    }
}

fn run(messages: &Receiver<Message>) {
    let mut outputs: BTreeMap<u32, Output> = BTreeMap::new();
    for message in messages {
        match message {
            Message::Open(id, output) => {
                outputs.insert(id.0, output);
            }
            Message::Write(id, lines) => {
                let output = outputs.get_mut(&id.0);
                if let Some(Err(error)) = output.map(|output| output.write(&lines)) {
                    tracing::warn!(%error, "access log lines lost");
                }
            }
            Message::Reopen => outputs.values_mut().for_each(reopen),
            Message::Sync(done) => {
                let _ = std::io::stdout().flush();
                let _ = done.send(());
            }
        }
    }
}

/// A file that cannot be opened again keeps the old one: lines in a renamed file are better than none.
fn reopen(output: &mut Output) {
    match Output::open(output.path.clone()) {
        Ok(opened) => *output = opened,
        Err(error) => tracing::warn!(%error, "access log not reopened"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &tempfile::TempDir) -> (SinkPath, std::path::PathBuf) {
        let path = dir.path().join("access.log");
        (SinkPath::File(path.to_str().unwrap().into()), path)
    }

    #[test]
    fn lines_arrive_in_order_and_a_path_is_one_sink() {
        let dir = tempfile::tempdir().unwrap();
        let (sink, path) = file(&dir);
        let sinks = LogSinks::new();
        let id = sinks.open(sink.clone()).unwrap();
        assert_eq!(sinks.open(sink).unwrap(), id);
        sinks.write(id, b"one\n".to_vec());
        sinks.write(id, b"two\n".to_vec());
        sinks.sync();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn a_rotated_file_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let (sink, path) = file(&dir);
        let sinks = LogSinks::new();
        let id = sinks.open(sink).unwrap();
        std::fs::rename(&path, dir.path().join("old")).unwrap();
        sinks.reopen();
        sinks.write(id, b"new\n".to_vec());
        sinks.sync();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "new\n");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error() {
        let sinks = LogSinks::new();
        assert!(
            sinks
                .open(SinkPath::File("/does/not/exist".into()))
                .is_err()
        );
    }
}
