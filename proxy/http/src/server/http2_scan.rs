//! The frames of an HTTP/2 client, as far as they carry headers: what is wrong with requests that h2 would hide.
//!
//! h2 passes trailers on without the pseudo headers in them, and forgets `:scheme` where there is no `:authority`. Both
//! make a request malformed (RFC 9113 sections 8.1 and 8.3). The connection ends then, as with Envoy: the frame that
//! tells it never reaches h2 whole.

use super::hpack::{Blocks, Name};

/// A connection whose client breaks the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// How many of the bytes came before it was known.
    pub at: usize,
}

/// Follows the bytes of one client.
#[derive(Debug)]
pub struct Scanner {
    state: State,
    blocks: Blocks,
    /// Entries that trailers may have.
    entries_max: usize,
    entries: usize,
    in_trailers: bool,
    /// The highest stream that was opened.
    last_stream: u32,
    header_frames: usize,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Preface(usize),
    Head([u8; 9], usize),
    PadLength(Frame),
    Priority(Frame, usize),
    Fragment(Frame),
    /// Bytes without meaning to us.
    Skip(usize),
    /// h2 will end the connection; there is nothing left to find.
    Over,
}

/// What is left of a frame with a piece of a header block.
#[derive(Debug, Clone, Copy)]
struct Frame {
    left: usize,
    padding: usize,
    priority: bool,
}

const PREFACE_BYTES: usize = 24;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
const PRIORITY_BYTES: usize = 5;

impl Scanner {
    /// A scanner at the beginning of a connection.
    pub fn new(entries_max: usize) -> Self {
        Self {
            state: State::Preface(PREFACE_BYTES),
            blocks: Blocks::default(),
            entries_max,
            entries: 0,
            in_trailers: false,
            last_stream: 0,
            header_frames: 0,
        }
    }

    /// Looks at the next bytes. After an error the scanner must not be used again.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<(), Found> {
        let mut at = 0;
        while at < bytes.len() {
            at += self.step(&bytes[at..]).ok_or(Found { at })?;
        }
        Ok(())
    }

    /// How many frames with headers began since the last call.
    pub fn take_header_frames(&mut self) -> usize {
        std::mem::take(&mut self.header_frames)
    }

    /// Takes some of the bytes; `None` if they tell that the connection must end.
    fn step(&mut self, bytes: &[u8]) -> Option<usize> {
        let available = bytes.len();
        Some(match self.state {
            State::Over => available,
            State::Preface(left) => {
                let used = left.min(available);
                self.state = match left - used {
                    0 => State::Head([0; 9], 0),
                    left => State::Preface(left),
                };
                used
            }
            State::Head(mut head, have) => {
                let used = (head.len() - have).min(available);
                head[have..have + used].copy_from_slice(&bytes[..used]);
                self.state = if have + used == head.len() {
                    self.frame(&head)
                } else {
                    State::Head(head, have + used)
                };
                used
            }
            State::PadLength(frame) => {
                self.state = match frame.left.checked_sub(1 + usize::from(bytes[0])) {
                    Some(left) => self.fragment(Frame {
                        left,
                        padding: usize::from(bytes[0]),
                        ..frame
                    }),
                    None => State::Over,
                };
                1
            }
            State::Priority(frame, left) => {
                let used = left.min(available);
                self.state = match left - used {
                    0 => self.fragment(frame),
                    left => State::Priority(frame, left),
                };
                used
            }
            State::Fragment(frame) => return self.block(frame, bytes),
            State::Skip(left) => {
                let used = left.min(available);
                self.state = Self::skip(left - used);
                used
            }
        })
    }

    fn skip(left: usize) -> State {
        match left {
            0 => State::Head([0; 9], 0),
            left => State::Skip(left),
        }
    }

    fn frame(&mut self, head: &[u8; 9]) -> State {
        let left = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        if kind == HEADERS {
            self.in_trailers = stream <= self.last_stream;
            self.last_stream = self.last_stream.max(stream);
            self.entries = 0;
        } else if kind != CONTINUATION {
            return Self::skip(left);
        }
        self.header_frames += 1;
        let frame = Frame {
            left,
            padding: 0,
            priority: kind == HEADERS && flags & PRIORITY != 0,
        };
        if kind == HEADERS && flags & PADDED != 0 {
            return match left {
                0 => State::Over,
                _ => State::PadLength(frame),
            };
        }
        self.fragment(frame)
    }

    /// The block's piece, behind the fields of the frame's own.
    fn fragment(&self, frame: Frame) -> State {
        if frame.priority {
            return match frame.left.checked_sub(PRIORITY_BYTES) {
                Some(left) => State::Priority(
                    Frame {
                        left,
                        priority: false,
                        ..frame
                    },
                    PRIORITY_BYTES,
                ),
                None => State::Over,
            };
        }
        match frame.left {
            0 => Self::skip(frame.padding),
            _ => State::Fragment(frame),
        }
    }

    fn block(&mut self, frame: Frame, bytes: &[u8]) -> Option<usize> {
        let piece = &bytes[..frame.left.min(bytes.len())];
        let Ok((used, seen)) = self.blocks.step(piece) else {
            self.state = State::Over;
            return Some(1);
        };
        if let Some(seen) = seen {
            self.entries += 1;
            let too_many = self.in_trailers && self.entries > self.entries_max;
            let pseudo = self.in_trailers && seen.name != Name::Header;
            let no_scheme = seen.name == Name::Scheme && seen.empty;
            if too_many || pseudo || no_scheme {
                return None;
            }
        }
        self.state = self.fragment(Frame {
            left: frame.left - used,
            ..frame
        });
        Some(used)
    }
}

#[cfg(test)]
mod tests;
