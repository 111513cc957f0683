//! A reader of HTTP/1 that takes nothing for granted: what RFC 9112 does not allow is a fault.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Longer than any head that is sent here.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Why there is no message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection ended in the middle.
    Cut,
    /// What came is not HTTP/1.
    Broken(String),
}

/// A start line and its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) start: String,
    /// Names in lower case.
    pub(crate) fields: Vec<(String, String)>,
}

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClose,
}

/// Reads messages from one side of a connection.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    io: R,
    buffer: Vec<u8>,
    ended: bool,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(crate) fn new(io: R) -> Self {
        Self {
            io,
            buffer: Vec::new(),
            ended: false,
        }
    }

    /// What was read and not taken.
    pub(crate) fn buffered(&self) -> &[u8] {
        &self.buffer
    }

    /// The next head; `None` at the end of the connection.
    pub(crate) async fn head(&mut self) -> Result<Option<Head>, Fault> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let bytes: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return Head::parse(&bytes[..end]).map(Some);
            }
            // A wrong first line is told at once: more may never come.
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                start_line(&self.buffer[..=end])?;
            }
            if self.buffer.len() > HEAD_BYTES_MAX {
                return Err(Fault::Broken("a head without end".into()));
            }
            if !self.fill().await {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(self.cut()),
                };
            }
        }
    }

    /// A body; what arrived of it is in `into` even if it is cut. Returns the trailers.
    pub(crate) async fn body(
        &mut self,
        framing: Framing,
        into: &mut Vec<u8>,
    ) -> Result<Vec<(String, String)>, Fault> {
        match framing {
            Framing::None => Ok(Vec::new()),
            Framing::Length(length) => self.take(length, into).await.map(|()| Vec::new()),
            Framing::Chunked => self.chunks(into).await,
            Framing::UntilClose => {
                self.rest(into).await;
                Ok(Vec::new())
            }
        }
    }

    /// Everything to the end of the connection.
    pub(crate) async fn rest(&mut self, into: &mut Vec<u8>) {
        loop {
            into.append(&mut self.buffer);
            if !self.fill().await {
                return;
            }
        }
    }

    /// This many bytes, and no more.
    pub(crate) async fn take(&mut self, length: usize, into: &mut Vec<u8>) -> Result<(), Fault> {
        let end = into.len() + length;
        loop {
            let missing = end - into.len();
            into.extend(self.buffer.drain(..missing.min(self.buffer.len())));
            if into.len() == end {
                return Ok(());
            }
            if !self.fill().await {
                return Err(Fault::Cut);
            }
        }
    }

    async fn chunks(&mut self, into: &mut Vec<u8>) -> Result<Vec<(String, String)>, Fault> {
        loop {
            let line = self.line().await?;
            let digits = line.split(';').next().unwrap_or_default();
            let is_size = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
            let size = usize::from_str_radix(digits, 16);
            let (true, Ok(size)) = (is_size, size) else {
                return Err(Fault::Broken(format!("chunk size `{line}`")));
            };
            if size == 0 {
                return self.trailers().await;
            }
            self.take(size, into).await?;
            let end = self.line().await?;
            if !end.is_empty() {
                return Err(Fault::Broken(format!("`{end}` behind a chunk")));
            }
        }
    }

    async fn trailers(&mut self) -> Result<Vec<(String, String)>, Fault> {
        let mut trailers = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(trailers);
            }
            trailers.push(field(&line)?);
        }
    }

    async fn line(&mut self) -> Result<String, Fault> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return text_line(&line);
            }
            if !self.fill().await {
                return Err(self.cut());
            }
        }
    }

    /// What is left is of a message that never ends.
    fn cut(&mut self) -> Fault {
        self.buffer.clear();
        Fault::Cut
    }

    /// Reads more; false at the end. A reset is an end.
    async fn fill(&mut self) -> bool {
        let read: io::Result<usize> = match self.ended {
            true => Ok(0),
            false => self.io.read_buf(&mut self.buffer).await,
        };
        self.ended = !matches!(read, Ok(1..));
        !self.ended
    }
}

impl Head {
    fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
        let start = start_line(lines.next().unwrap_or_default())?;
        let fields = lines.map(|line| field(&text_line(line)?));
        Ok(Self {
            start,
            fields: fields.collect::<Result<_, _>>()?,
        })
    }

    /// The values of a field.
    pub(crate) fn all<'a>(&'a self, name: &'static str) -> impl Iterator<Item = &'a str> {
        let fields = self.fields.iter().filter(move |(other, _)| other == name);
        fields.map(|(_, value)| value.as_str())
    }

    /// Method and target of a request.
    pub(crate) fn request(&self) -> Result<(&str, &str), Fault> {
        let words: Vec<&str> = self.start.split(' ').collect();
        let [method, target, "HTTP/1.1"] = words[..] else {
            return Err(Fault::Broken(format!("request line `{}`", self.start)));
        };
        if !is_token(method) || target.is_empty() {
            return Err(Fault::Broken(format!("request line `{}`", self.start)));
        }
        Ok((method, target))
    }

    /// The status of a response.
    pub(crate) fn status(&self) -> Result<u16, Fault> {
        let status = self
            .start
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3));
        let status = status.and_then(|status| status.parse().ok());
        status.ok_or_else(|| Fault::Broken(format!("status line `{}`", self.start)))
    }

    /// The framing of a request (RFC 9112 section 6.3).
    pub(crate) fn request_framing(&self) -> Result<Framing, Fault> {
        Ok(self.announced()?.unwrap_or(Framing::None))
    }

    /// The framing of a response to a method.
    pub(crate) fn response_framing(&self, method: &str) -> Result<Framing, Fault> {
        let announced = self.announced()?;
        let status = self.status()?;
        if method == "HEAD" || status < 200 || status == 204 || status == 304 {
            return Ok(Framing::None);
        }
        Ok(announced.unwrap_or(Framing::UntilClose))
    }

    fn announced(&self) -> Result<Option<Framing>, Fault> {
        let lengths: Vec<&str> = self.all("content-length").collect();
        let codings: Vec<&str> = self.all("transfer-encoding").collect();
        match (&lengths[..], &codings[..]) {
            ([], []) => Ok(None),
            ([], ["chunked"]) => Ok(Some(Framing::Chunked)),
            ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                let length = length.parse();
                let length = length.map_err(|_| Fault::Broken("content-length".into()))?;
                Ok(Some(Framing::Length(length)))
            }
            _ => Err(Fault::Broken(format!(
                "content-length {lengths:?}, transfer-encoding {codings:?}"
            ))),
        }
    }
}

fn start_line(line: &[u8]) -> Result<String, Fault> {
    let line = text_line(line)?;
    let is_request = line.ends_with(" HTTP/1.1") && line.split(' ').count() == 3;
    if line.starts_with("HTTP/1.1 ") || is_request {
        return Ok(line);
    }
    Err(Fault::Broken(format!("start line `{line}`")))
}

/// A line without its CRLF.
fn text_line(line: &[u8]) -> Result<String, Fault> {
    let shown = || String::from_utf8_lossy(line).into_owned();
    let bare = line.strip_suffix(b"\n").unwrap_or(line);
    // The last line of a head is given without its end.
    let complete = bare.len() < line.len();
    let bare = match bare.strip_suffix(b"\r") {
        Some(bare) => bare,
        None if !complete => bare,
        None => return Err(Fault::Broken(format!("bare LF in `{}`", shown()))),
    };
    let control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    if bare.iter().any(control) {
        return Err(Fault::Broken(format!("control character in `{}`", shown())));
    }
    Ok(String::from_utf8_lossy(bare).into_owned())
}

fn field(line: &str) -> Result<(String, String), Fault> {
    match line.split_once(':') {
        Some((name, value)) if is_token(name) => {
            Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
        }
        _ => Err(Fault::Broken(format!("field `{line}`"))),
    }
}

fn is_token(text: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_tchar)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}
