//! A request body that can be sent again, up to a limit, and copied to mirrors.
//!
//! All tries of one request share a [`Tape`]: what was read from the client is kept until it exceeds the limit;
//! from then on the body only streams, and [`Tape::can_replay`] says that no further try is possible.
//! Only one try reads at a time: a new one ends the body of the one before, which its connection may still be
//! sending, so that neither takes what the other needs.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use super::{BodyError, RequestBody};

/// The client's body and what was read of it.
#[derive(Debug)]
pub struct Tape {
    source: RequestBody,
    chunks: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    size: usize,
    limit: usize,
    ended: bool,
    /// The limit was exceeded, or the client broke off.
    lost: bool,
    /// Keep what was read; false if the body is only copied to mirrors.
    keep: bool,
    mirrors: Vec<MirrorSender>,
    size_hint: SizeHint,
    /// The number of the try that reads.
    reader: u32,
    /// The reader's task, while it waits for the client.
    waiting: Option<Waker>,
}

/// A handle on the tape of one request.
#[derive(Debug, Clone)]
pub struct SharedTape(Rc<RefCell<Tape>>);

impl SharedTape {
    /// A tape over the client's body that keeps at most `limit` bytes for further tries.
    pub fn new(source: RequestBody, keep: bool, limit: usize) -> Self {
        let size_hint = source.size_hint();
        Self(Rc::new(RefCell::new(Tape {
            source,
            chunks: Vec::new(),
            trailers: None,
            size: 0,
            limit,
            ended: false,
            lost: false,
            keep,
            mirrors: Vec::new(),
            size_hint,
            reader: 0,
            waiting: None,
        })))
    }

    /// True while the body can be sent once more from its beginning.
    pub fn can_replay(&self) -> bool {
        let tape = self.0.borrow();
        tape.keep && !tape.lost
    }

    /// The body from its beginning. The body that was made before fails.
    pub fn body(&self) -> ReplayBody {
        let mut tape = self.0.borrow_mut();
        tape.reader += 1;
        if let Some(waiting) = tape.waiting.take() {
            waiting.wake();
        }
        ReplayBody {
            size_hint: tape.size_hint,
            tape: self.0.clone(),
            reader: tape.reader,
            position: 0,
            trailers_sent: false,
            drop_trailers: false,
        }
    }

    /// A copy of the body, fed as the original is read.
    pub fn mirror(&self) -> MirrorBody {
        let mut tape = self.0.borrow_mut();
        let (frames, receiver) = mpsc::unbounded_channel();
        let pending = Rc::new(std::cell::Cell::new(0));
        tape.mirrors.push(MirrorSender {
            frames,
            pending: pending.clone(),
        });
        MirrorBody {
            receiver,
            pending,
            drop_trailers: false,
            size_hint: tape.size_hint,
        }
    }
}

impl Tape {
    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.source).poll_frame(cx) else {
            self.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        };
        match &frame {
            Some(Ok(frame)) => self.remember(frame),
            Some(Err(_)) => {
                self.lost = true;
                self.mirrors.clear();
            }
            None => {
                self.ended = true;
                self.finish_mirrors();
            }
        }
        if self.source.is_end_stream() && !self.ended {
            self.ended = true;
            self.finish_mirrors();
        }
        Poll::Ready(frame)
    }

    fn remember(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            let limit = self.limit;
            self.mirrors
                .retain(|mirror| mirror.send_data(data.clone(), limit));
            if !self.keep || self.lost {
                return;
            }
            self.size += data.len();
            if self.size > self.limit {
                self.lost = true;
                self.chunks = Vec::new();
            } else {
                self.chunks.push(data.clone());
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            for mirror in &self.mirrors {
                let _ = mirror
                    .frames
                    .send(MirrorFrame::Trailers(Box::new(trailers.clone())));
            }
            self.trailers = Some(trailers.clone());
            self.ended = true;
            self.finish_mirrors();
        }
    }

    fn finish_mirrors(&mut self) {
        for mirror in self.mirrors.drain(..) {
            let _ = mirror.frames.send(MirrorFrame::End);
        }
    }
}

/// One try's reading of the tape.
#[derive(Debug)]
pub struct ReplayBody {
    tape: Rc<RefCell<Tape>>,
    /// The number of the try.
    reader: u32,
    position: usize,
    trailers_sent: bool,
    drop_trailers: bool,
    size_hint: SizeHint,
}

impl ReplayBody {
    /// Ends this try's body before its trailers.
    pub fn drop_trailers(&mut self) {
        self.drop_trailers = true;
    }

    /// Takes the next frame, from the tape or from the client.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(self.poll_tape(cx));
        let dropped = self.drop_trailers && is_trailers(&frame);
        Poll::Ready(frame.filter(|_| !dropped))
    }

    fn poll_tape(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut tape = self.tape.borrow_mut();
        if tape.reader != self.reader {
            return Poll::Ready(Some(Err(BodyError::Aborted)));
        }
        if let Some(chunk) = tape.chunks.get(self.position) {
            self.position += 1;
            return Poll::Ready(Some(Ok(Frame::data(chunk.clone()))));
        }
        if !tape.ended {
            let frame = ready!(tape.poll_source(cx));
            match &frame {
                Some(Ok(frame)) if frame.is_trailers() => self.trailers_sent = true,
                Some(Ok(_)) => self.position = tape.chunks.len(),
                _ => {}
            }
            return Poll::Ready(frame);
        }
        if !self.trailers_sent
            && let Some(trailers) = &tape.trailers
        {
            self.trailers_sent = true;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers.clone()))));
        }
        Poll::Ready(None)
    }

    /// True if nothing is left.
    pub fn is_end_stream(&self) -> bool {
        let tape = self.tape.borrow();
        tape.reader == self.reader
            && tape.ended
            && self.position >= tape.chunks.len()
            && (self.trailers_sent || tape.trailers.is_none())
    }

    /// What is known of the length.
    pub fn size_hint(&self) -> SizeHint {
        self.size_hint
    }
}

fn is_trailers(frame: &Option<Result<Frame<Bytes>, BodyError>>) -> bool {
    matches!(frame, Some(Ok(frame)) if frame.is_trailers())
}

#[derive(Debug)]
enum MirrorFrame {
    Data(Bytes),
    Trailers(Box<HeaderMap>),
    End,
}

#[derive(Debug)]
struct MirrorSender {
    frames: mpsc::UnboundedSender<MirrorFrame>,
    /// Bytes that were sent and not yet taken: bounded by the tape's limit.
    pending: Rc<std::cell::Cell<usize>>,
}

impl MirrorSender {
    /// False if the mirror is given up: gone, or too slow.
    fn send_data(&self, data: Bytes, limit: usize) -> bool {
        let pending = self.pending.get() + data.len();
        if pending > limit {
            return false;
        }
        self.pending.set(pending);
        self.frames.send(MirrorFrame::Data(data)).is_ok()
    }
}

/// A copy of a client's body. It fails when the original fails or outruns it by more than the limit.
#[derive(Debug)]
pub struct MirrorBody {
    receiver: mpsc::UnboundedReceiver<MirrorFrame>,
    pending: Rc<std::cell::Cell<usize>>,
    drop_trailers: bool,
    size_hint: SizeHint,
}

impl MirrorBody {
    /// Ends the copy before its trailers.
    pub fn drop_trailers(&mut self) {
        self.drop_trailers = true;
    }

    /// Takes the next frame.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(match ready!(self.receiver.poll_recv(cx)) {
            Some(MirrorFrame::Data(data)) => {
                self.pending.set(self.pending.get() - data.len());
                Some(Ok(Frame::data(data)))
            }
            Some(MirrorFrame::Trailers(_)) if self.drop_trailers => None,
            Some(MirrorFrame::Trailers(trailers)) => Some(Ok(Frame::trailers(*trailers))),
            Some(MirrorFrame::End) => None,
            None => Some(Err(BodyError::MirrorOverflow)),
        })
    }

    /// What is known of the length.
    pub fn size_hint(&self) -> SizeHint {
        self.size_hint
    }
}
