//! Where the messages of an HTTP/1 connection begin and end, and what is wrong with their heads that hyper would
//! hide or forgive.
//!
//! Hyper drops `content-length` beside `transfer-encoding`, joins equal lengths, cuts fragments, takes
//! `gzip, chunked` for chunked, and answers what it cannot parse by itself. Whoever forwards such a request
//! passes on another one than was sent. So the bytes are looked at on their way to hyper, once, without copying
//! them. The scanner follows the body too, because the next head may stand right behind it. It must agree with
//! hyper about every message that hyper accepts, and is the stricter of the two where they could disagree.

use crate::refusal::Refusal;

/// How large a head may be.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// Bytes of a head, or of trailers, with their line ends.
    pub bytes_max: usize,
    /// Header lines.
    pub lines_max: usize,
}

/// Follows the bytes of one connection.
#[derive(Debug)]
pub struct Scanner {
    limits: HeadLimits,
    state: State,
    head: Head,
}

/// A request that must not be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// How many of the bytes came before it was known. The parser may have them.
    pub at: usize,
    /// Why it is refused.
    pub refusal: Refusal,
    /// It is the body that is broken; the request itself is under way.
    pub in_body: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Empty lines before a request.
    Lead,
    RequestLine,
    LineStart,
    Name,
    Value,
    /// Behind the CR of the empty line that ends a head.
    LastLf,
    /// Behind a head.
    Complete,
    Body(u64),
    Chunk(Chunk),
    /// Bytes of another protocol, after an upgrade or CONNECT.
    Foreign,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunk {
    Size { digits: u8, value: u64 },
    Extension(u64),
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    Trailer,
    TrailerLf,
    End,
}

/// What is known of the head that is being read.
#[derive(Debug, Clone, Copy, Default)]
struct Head {
    bytes: usize,
    lines: usize,
    /// `CONNECT` with the space behind it, or the first bytes of another request line.
    method: Text<8>,
    after_space: bool,
    /// The first byte of the target.
    target: Option<u8>,
    /// The last byte of the request line before its end.
    last: u8,
    fragment: bool,
    name: Text<17>,
    value: Text<24>,
    field: Field,
    lengths: usize,
    length: u64,
    codings: usize,
    /// The last transfer coding is `chunked`.
    chunked: bool,
    upgrade: bool,
}

/// Fields that decide about framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Field {
    ContentLength,
    TransferEncoding,
    Upgrade,
    #[default]
    Other,
}

impl Scanner {
    /// A scanner at the beginning of a connection.
    pub fn new(limits: HeadLimits) -> Self {
        Self {
            limits,
            state: State::Lead,
            head: Head::default(),
        }
    }

    /// Looks at the next bytes. After an error the scanner must not be used again.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<(), Found> {
        let mut at = 0;
        while at < bytes.len() {
            let in_body = matches!(self.state, State::Body(_) | State::Chunk(_));
            let found = |refusal| Found {
                at,
                refusal,
                in_body,
            };
            at += self.step(&bytes[at..]).map_err(found)?;
        }
        Ok(())
    }

    /// Takes some of the bytes, or changes the state.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        match self.state {
            State::Foreign => Ok(bytes.len()),
            State::Body(left) => Ok(self.body(left, bytes.len())),
            State::Chunk(chunk) => self.chunk(chunk, bytes),
            _ => self.head_bytes(bytes),
        }
    }

    /// Takes some bytes of a head, none beyond the first that is too many: what is wrong does not depend on how many
    /// have arrived.
    fn head_bytes(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let room = self.limits.bytes_max.saturating_sub(self.head.bytes) + 1;
        let bytes = &bytes[..bytes.len().min(room)];
        let used = match self.state {
            State::RequestLine => self.request_line(bytes),
            State::LineStart => self.line_start(bytes[0])?,
            State::Name => self.name(bytes)?,
            State::Value => self.value(bytes)?,
            State::LastLf if bytes[0] == b'\n' => {
                self.state = State::Complete;
                1
            }
            State::LastLf => return Err(Refusal::Codec),
            _ => self.lead(bytes[0]),
        };
        self.head.bytes += used;
        if self.head.bytes > self.limits.bytes_max {
            return Err(Refusal::HeadTooLarge);
        }
        if self.state == State::Complete {
            self.state = self.head.body()?;
            self.head = Head::default();
        }
        Ok(used)
    }

    fn lead(&mut self, byte: u8) -> usize {
        if matches!(byte, b'\r' | b'\n') {
            return 1;
        }
        self.state = State::RequestLine;
        0
    }

    fn request_line(&mut self, bytes: &[u8]) -> usize {
        let (line, ended) = until_line_feed(bytes);
        for byte in line {
            let head = &mut self.head;
            head.method.push(*byte);
            if head.after_space && head.target.is_none() {
                head.target = Some(*byte);
            }
            head.after_space |= *byte == b' ';
            head.fragment |= *byte == b'#';
            if *byte != b'\r' {
                head.last = *byte;
            }
        }
        if ended {
            self.state = State::LineStart;
        }
        line.len() + usize::from(ended)
    }

    fn line_start(&mut self, byte: u8) -> Result<usize, Refusal> {
        match byte {
            b'\r' => self.state = State::LastLf,
            b'\n' => self.state = State::Complete,
            // A line that continues the last one is obsolete (RFC 9112 section 5.2). Differs from Envoy, which
            // joins them.
            b' ' | b'\t' => return Err(Refusal::Codec),
            _ => {
                self.head.lines += 1;
                if self.head.lines > self.limits.lines_max {
                    return Err(Refusal::TooManyHeaders);
                }
                self.head.name = Text::default();
                self.state = State::Name;
                return Ok(0);
            }
        }
        Ok(1)
    }

    fn name(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        for (index, byte) in bytes.iter().enumerate() {
            if TOKEN[usize::from(*byte)] {
                self.head.name.push(byte.to_ascii_lowercase());
                continue;
            }
            if *byte != b':' || self.head.name.length == 0 {
                return Err(Refusal::Codec);
            }
            self.head.field = Field::of(self.head.name.get());
            self.head.value = Text::default();
            self.state = State::Value;
            return Ok(index + 1);
        }
        Ok(bytes.len())
    }

    fn value(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let (line, ended) = until_line_feed(bytes);
        if self.head.field != Field::Other {
            for byte in line {
                let value = &mut self.head.value;
                if value.length > 0 || !matches!(byte, b' ' | b'\t') {
                    value.push(*byte);
                }
            }
        }
        if ended {
            self.head.end_field()?;
            self.state = State::LineStart;
        }
        Ok(line.len() + usize::from(ended))
    }

    fn body(&mut self, left: u64, available: usize) -> usize {
        let used = usize::try_from(left).map_or(available, |left| left.min(available));
        self.state = match left - used as u64 {
            0 => State::Lead,
            left => State::Body(left),
        };
        used
    }

    /// Chunks by the letter of RFC 9112 section 7.1: a line ends with CR LF.
    fn chunk(&mut self, chunk: Chunk, bytes: &[u8]) -> Result<usize, Refusal> {
        let byte = bytes[0];
        let mut used = 1;
        let next = match (chunk, byte) {
            (Chunk::Size { digits, value }, _) if byte.is_ascii_hexdigit() => {
                let digit = (byte as char).to_digit(16).unwrap_or_default();
                let value = value.checked_mul(16).ok_or(Refusal::Codec)?;
                let digits = digits.saturating_add(1);
                let value = value + u64::from(digit);
                Chunk::Size { digits, value }
            }
            (Chunk::Size { digits: 0, .. }, _) => return Err(Refusal::Codec),
            (Chunk::Size { value, .. }, b'\r') => Chunk::SizeLf(value),
            (Chunk::Size { value, .. }, b' ' | b'\t' | b';') => Chunk::Extension(value),
            (Chunk::Extension(value), b'\r') => Chunk::SizeLf(value),
            (Chunk::Extension(_), b'\n') => return Err(Refusal::Codec),
            (Chunk::Extension(_), _) => chunk,
            (Chunk::SizeLf(0), b'\n') => Chunk::TrailerStart,
            (Chunk::SizeLf(left), b'\n') => Chunk::Data(left),
            (Chunk::Data(left), _) => {
                let available = bytes.len();
                used = usize::try_from(left).map_or(available, |left| left.min(available));
                match left - used as u64 {
                    0 => Chunk::DataCr,
                    left => Chunk::Data(left),
                }
            }
            (Chunk::DataCr, b'\r') => Chunk::DataLf,
            (Chunk::DataLf, b'\n') => Chunk::START,
            (Chunk::TrailerStart, b'\r') => Chunk::End,
            (Chunk::TrailerStart | Chunk::TrailerName, _) if TOKEN[usize::from(byte)] => {
                Chunk::TrailerName
            }
            (Chunk::TrailerName, b':') => Chunk::Trailer,
            (Chunk::Trailer, b'\n') => return Err(Refusal::Codec),
            (Chunk::Trailer, b'\r') => Chunk::TrailerLf,
            (Chunk::Trailer, _) => Chunk::Trailer,
            (Chunk::TrailerLf, b'\n') => Chunk::TrailerStart,
            (Chunk::End, b'\n') => {
                self.head = Head::default();
                self.state = State::Lead;
                return Ok(1);
            }
            _ => return Err(Refusal::Codec),
        };
        if matches!(next, Chunk::TrailerName | Chunk::Trailer | Chunk::TrailerLf) {
            self.head.bytes += 1;
            if self.head.bytes > self.limits.bytes_max {
                return Err(Refusal::HeadTooLarge);
            }
        }
        self.state = State::Chunk(next);
        Ok(used)
    }
}

impl Head {
    /// Judges a field that decides about framing.
    fn end_field(&mut self) -> Result<(), Refusal> {
        match self.field {
            Field::Other => {}
            Field::ContentLength => {
                self.lengths += 1;
                self.length = length(self.value.get()).ok_or(Refusal::Codec)?;
            }
            Field::TransferEncoding => {
                self.codings += 1;
                self.chunked = self.value.get().eq_ignore_ascii_case(b"chunked");
            }
            Field::Upgrade => {
                // HTTP/2 by upgrade is obsolete: such a request stays one (`protocol::head`).
                self.upgrade |= !self.value.get().eq_ignore_ascii_case(b"h2c");
            }
        }
        Ok(())
    }

    /// What follows the head.
    fn body(&self) -> Result<State, Refusal> {
        if self.fragment {
            return Err(match self.target {
                Some(b'/') => Refusal::Fragment,
                _ => Refusal::InvalidTarget,
            });
        }
        let http10 = self.last == b'0';
        match (self.codings, self.lengths) {
            (1.., 1..) => return Err(Refusal::TwoLengths),
            // HTTP/1.0 has no transfer codings: such framing is faulty (RFC 9112 section 6.1). Differs from Envoy,
            // which takes `chunked`.
            (1.., _) if http10 => return Err(Refusal::Codec),
            (1, _) if self.chunked => {}
            // Two lines are two codings, even if each is `chunked`.
            (1.., _) => return Err(Refusal::TransferCoding),
            (_, 2..) => return Err(Refusal::Codec),
            _ => {}
        }
        let connect = self.method.bytes == *b"CONNECT ";
        Ok(if connect || self.upgrade && !http10 {
            State::Foreign
        } else if self.chunked {
            State::Chunk(Chunk::START)
        } else if self.length > 0 {
            State::Body(self.length)
        } else {
            State::Lead
        })
    }
}

impl Chunk {
    const START: Self = Self::Size {
        digits: 0,
        value: 0,
    };
}

impl Field {
    fn of(name: &[u8]) -> Self {
        match name {
            b"content-length" => Self::ContentLength,
            b"transfer-encoding" => Self::TransferEncoding,
            b"upgrade" => Self::Upgrade,
            _ => Self::Other,
        }
    }
}

/// The first bytes of something, and how long it is.
#[derive(Debug, Clone, Copy)]
struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self {
            bytes: [0; N],
            length: 0,
        }
    }
}

impl<const N: usize> Text<N> {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
        }
        self.length += 1;
    }

    /// The text without white space behind it; if it is longer than fits, one byte of it that equals nothing.
    fn get(&self) -> &[u8] {
        match self.bytes.get(..self.length) {
            Some(text) => text.trim_ascii_end(),
            None => b"\0",
        }
    }
}

fn until_line_feed(bytes: &[u8]) -> (&[u8], bool) {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&bytes[..end], true),
        None => (bytes, false),
    }
}

/// Digits and nothing else (RFC 9110 section 8.6); a list of equal lengths is refused, as by Envoy.
fn length(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The bytes of a header's name (RFC 9110 section 5.6.2).
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let character = byte as u8;
        table[byte] = character.is_ascii_alphanumeric()
            || matches!(
                character,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests;
