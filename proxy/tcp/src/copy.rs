//! Moving bytes between two connections, with half-close and counting.
//!
//! Two plain sockets are served by [`sockets`]: small amounts through a buffer that all connections of a thread
//! share, so that an idle connection holds none; a direction that turns out to carry bulk goes on by
//! `splice(2)`, where the bytes never enter this process. Streams with TLS go through [`streams`].

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// The shared buffer of a thread.
const BUFFER_BYTES: usize = 64 * 1024;

/// A direction that has moved this much is bulk.
const SPLICE_FROM_BYTES: u64 = 256 * 1024;

/// Capacity asked of a pipe. The kernel may give less to unprivileged users with many pipes.
const PIPE_BYTES: usize = 256 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER_BYTES].into_boxed_slice());
}

/// Counts what one direction has moved, and remembers when.
#[derive(Debug)]
pub struct Progress<'a> {
    moved: &'a Cell<u64>,
    last: &'a Cell<Instant>,
    bytes_max: usize,
}

impl<'a> Progress<'a> {
    /// `moved` is increased as bytes are written; `last` is set on every movement of either direction.
    pub fn new(moved: &'a Cell<u64>, last: &'a Cell<Instant>) -> Self {
        Self {
            moved,
            last,
            bytes_max: usize::MAX,
        }
    }

    /// The same direction, holding so many bytes at most that are read and not yet written.
    #[must_use]
    pub fn holding(mut self, bytes_max: u32) -> Self {
        self.bytes_max = bytes_max as usize;
        self
    }

    fn add(&self, bytes: usize) {
        self.moved.set(self.moved.get() + bytes as u64);
        self.last.set(Instant::now());
    }
}

/// Returns when nothing has moved for `limit`.
pub async fn idle(last: &Cell<Instant>, limit: Duration) {
    loop {
        let deadline = last.get() + limit;
        if deadline <= Instant::now() {
            return;
        }
        tokio::time::sleep_until(deadline.into()).await;
    }
}

/// Copies both directions between two plain sockets until both have ended; `prefix` was read from `a` before.
pub async fn sockets(
    a: &TcpStream,
    b: &TcpStream,
    prefix: &[u8],
    to_b: Progress<'_>,
    to_a: Progress<'_>,
) -> io::Result<()> {
    let forward = async {
        write_all(b, prefix, &to_b).await?;
        one_way(a, b, &to_b).await
    };
    // The first error ends both: the connection is broken, half of it is of no use.
    tokio::try_join!(forward, one_way(b, a, &to_a)).map(drop)
}

async fn one_way(from: &TcpStream, to: &TcpStream, progress: &Progress<'_>) -> io::Result<()> {
    while progress.moved.get() < SPLICE_FROM_BYTES {
        from.readable().await?;
        match through_buffer(from, to, progress.bytes_max)? {
            Step::Idle => {}
            Step::End => return shutdown(to),
            Step::Moved(moved, left) => {
                progress.add(moved);
                write_all(to, &left, progress).await?;
            }
        }
        tokio::task::consume_budget().await;
    }
    spliced(from, to, progress).await?;
    shutdown(to)
}

enum Step {
    /// Nothing to read after all.
    Idle,
    /// The sender has finished.
    End,
    /// This much was written; these bytes could not be.
    Moved(usize, Vec<u8>),
}

/// One read and, without waiting, one write.
fn through_buffer(from: &TcpStream, to: &TcpStream, bytes_max: usize) -> io::Result<Step> {
    BUFFER.with_borrow_mut(|buffer| {
        let buffer = &mut buffer[..bytes_max.min(BUFFER_BYTES)];
        let read = match from.try_read(buffer) {
            Ok(0) => return Ok(Step::End),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Step::Idle),
            Err(error) => return Err(error),
        };
        let written = match to.try_write(&buffer[..read]) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        Ok(Step::Moved(written, buffer[written..read].to_vec()))
    })
}

async fn write_all(to: &TcpStream, bytes: &[u8], progress: &Progress<'_>) -> io::Result<()> {
    let mut left = bytes;
    while !left.is_empty() {
        match to.try_write(left) {
            Ok(written) => {
                progress.add(written);
                left = &left[written..];
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => to.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn shutdown(socket: &TcpStream) -> io::Result<()> {
    match socket2::SockRef::from(socket).shutdown(Shutdown::Write) {
        // The other side has closed already: nothing to tell it.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        other => other,
    }
}

async fn spliced(from: &TcpStream, to: &TcpStream, progress: &Progress<'_>) -> io::Result<()> {
    let pipe = Pipe::new(progress.bytes_max)?;
    loop {
        let filled = from
            .async_io(Interest::READABLE, || pipe.fill(from))
            .await?;
        if filled == 0 {
            return Ok(());
        }
        let mut left = filled;
        while left > 0 {
            let drained = to
                .async_io(Interest::WRITABLE, || pipe.drain(to, left))
                .await?;
            progress.add(drained);
            left -= drained;
        }
        tokio::task::consume_budget().await;
    }
}

/// A pipe that is empty between two turns.
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    capacity: usize,
}

impl Pipe {
    fn new(bytes_max: usize) -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        // Refused when the user's pipes hold too many pages; the default size does as well.
        let capacity = match fcntl_setpipe_size(&write, PIPE_BYTES.min(bytes_max)) {
            Ok(_) => PIPE_BYTES,
            Err(_) => BUFFER_BYTES,
        };
        let capacity = capacity.min(bytes_max);
        Ok(Self {
            read,
            write,
            capacity,
        })
    }

    fn fill(&self, from: &TcpStream) -> io::Result<usize> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        Ok(splice(from, None, &self.write, None, self.capacity, flags)?)
    }

    fn drain(&self, to: &TcpStream, bytes: usize) -> io::Result<usize> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        Ok(splice(&self.read, None, to, None, bytes, flags)?)
    }
}

/// Copies both directions between two streams until both have ended.
pub async fn streams<A, B>(
    a: &mut A,
    b: &mut B,
    to_b: Progress<'_>,
    to_a: Progress<'_>,
) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut forward, mut backward) = (Half::default(), Half::default());
    poll_fn(|cx| {
        let there = forward.poll(cx, Pin::new(a), Pin::new(b), &to_b)?;
        let back = backward.poll(cx, Pin::new(b), Pin::new(a), &to_a)?;
        match there.is_ready() && back.is_ready() {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    })
    .await
}

/// One direction of [`streams`].
#[derive(Default)]
struct Half {
    /// Read and not yet written.
    left: Vec<u8>,
    written: usize,
    unflushed: bool,
    state: State,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// The sender has finished; the receiver is to be told.
    Ended,
    /// The receiver was told.
    Closed,
}

impl Half {
    fn poll<R: AsyncRead, W: AsyncWrite>(
        &mut self,
        cx: &mut Context<'_>,
        mut from: Pin<&mut R>,
        mut to: Pin<&mut W>,
        progress: &Progress<'_>,
    ) -> Poll<io::Result<()>> {
        while self.state != State::Closed {
            while self.written < self.left.len() {
                let written = ready!(to.as_mut().poll_write(cx, &self.left[self.written..]))?;
                self.wrote(written, progress)?;
            }
            self.left = Vec::new();
            self.written = 0;
            if self.state == State::Ended {
                ready!(to.as_mut().poll_shutdown(cx))?;
                self.state = State::Closed;
                break;
            }
            if self
                .poll_step(cx, from.as_mut(), to.as_mut(), progress)?
                .is_pending()
            {
                // Written bytes leave once per wake-up, when nothing more is at hand.
                if self.unflushed {
                    ready!(to.as_mut().poll_flush(cx))?;
                    self.unflushed = false;
                }
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once into the shared buffer and writes what can be written at once.
    fn poll_step<R: AsyncRead, W: AsyncWrite>(
        &mut self,
        cx: &mut Context<'_>,
        from: Pin<&mut R>,
        to: Pin<&mut W>,
        progress: &Progress<'_>,
    ) -> Poll<io::Result<()>> {
        BUFFER.with_borrow_mut(|buffer| {
            let buffer = &mut buffer[..progress.bytes_max.min(BUFFER_BYTES)];
            let mut buffer = ReadBuf::new(buffer);
            ready!(from.poll_read(cx, &mut buffer))?;
            let read = buffer.filled();
            if read.is_empty() {
                self.state = State::Ended;
                return Poll::Ready(Ok(()));
            }
            let written = match to.poll_write(cx, read)? {
                Poll::Ready(written) => written,
                Poll::Pending => 0,
            };
            self.left = read[written..].to_vec();
            if written > 0 {
                progress.add(written);
                self.unflushed = true;
            }
            Poll::Ready(Ok(()))
        })
    }

    fn wrote(&mut self, written: usize, progress: &Progress<'_>) -> io::Result<()> {
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.written += written;
        self.unflushed = true;
        progress.add(written);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
