//! One request: a line of `rows.txt`, how it is put on the wire, and how its answer is read.
//!
//! ```text
//! METHOD AUTHORITY TARGET [| Header: value]... [| body=TEXT] [| chunked=TEXT] [| version=1.0] [| pad=BYTES] [| h2] [| nohost]
//! ```
//!
//! The text goes out as it stands, without cleaning, so that odd requests stay odd; `\xHH` is a byte. `pad` adds a
//! header with a value of that length. `h2` sends the request over HTTP/2 instead. A row that ends in `| differs=REASON` is known to be answered otherwise than by
//! Envoy; the suite fails as soon as that is no longer true.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::answer::Answer;

const ANSWER_DEADLINE: Duration = Duration::from_secs(3);

/// One line of the table.
pub struct Row {
    /// The line.
    pub text: String,
    /// Its 1-based number in the file.
    pub number: usize,
    /// Why the answers are known to differ.
    pub differs: Option<String>,
    request: Sent,
}

#[derive(Default)]
struct Sent {
    method: String,
    authority: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
    chunked: bool,
    version: Option<String>,
    http2: bool,
    without_host: bool,
}

impl Row {
    /// All rows of the table; empty lines and lines that begin with `#` are left out.
    pub fn parse_all(table: &str) -> Vec<Self> {
        let lines = table
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        lines
            .map(|(index, line)| Self::parse(index + 1, line))
            .collect()
    }

    fn parse(number: usize, line: &str) -> Self {
        let mut parts = line.split(" | ");
        let first = parts.next().unwrap_or_default();
        let mut words = first.splitn(3, ' ').map(str::to_owned);
        let mut next = || {
            words
                .next()
                .unwrap_or_else(|| panic!("row {number} needs METHOD AUTHORITY TARGET"))
        };
        let mut request = Sent {
            method: next(),
            authority: next(),
            target: next(),
            ..Default::default()
        };
        let mut differs = None;
        for part in parts {
            match part.split_once('=') {
                Some(("differs", reason)) => differs = Some(reason.to_owned()),
                Some(("body", text)) => request.body = Some(text.to_owned()),
                Some(("chunked", text)) => {
                    request.body = Some(text.to_owned());
                    request.chunked = true;
                }
                Some(("version", text)) => request.version = Some(text.to_owned()),
                Some(("pad", bytes)) => {
                    let bytes = bytes.parse().expect("a length behind pad=");
                    let pad = ("x-pad".to_owned(), "a".repeat(bytes));
                    request.headers.push(pad);
                }
                _ if part == "h2" => request.http2 = true,
                _ if part == "nohost" => request.without_host = true,
                _ => {
                    let (name, value) = part
                        .split_once(':')
                        .unwrap_or_else(|| panic!("row {number}: `{part}`"));
                    request
                        .headers
                        .push((name.to_owned(), value.trim_start().to_owned()));
                }
            }
        }
        Self {
            text: line.to_owned(),
            number,
            differs,
            request,
        }
    }

    /// What the access log and the upstream know the row by.
    pub fn id(&self) -> String {
        format!("row-{}", self.number)
    }

    /// A request that is too broken to be parsed leaves no line with its row.
    pub fn is_logged(&self, answer: &Answer) -> bool {
        // The one 403 with this text is for a target that the parser refuses.
        let by_parser = answer.body == "Forbidden";
        !by_parser && !matches!(answer.status, None | Some(400 | 426 | 431 | 501))
    }

    /// Sends the row to a port of this machine.
    pub async fn send(&self, port: u16) -> Answer {
        let exchange = async {
            if self.request.http2 {
                self.send_http2(port).await
            } else {
                self.send_http1(port).await
            }
        };
        match tokio::time::timeout(ANSWER_DEADLINE, exchange).await {
            Ok(answer) => answer,
            Err(_) => Answer {
                body: format!("no answer within {ANSWER_DEADLINE:?}"),
                ..Default::default()
            },
        }
    }

    async fn send_http1(&self, port: u16) -> Answer {
        let mut stream = TcpStream::connect(("127.0.0.1", port))
            .await
            .expect("the contender listens");
        stream
            .write_all(&self.http1_bytes())
            .await
            .expect("the request is taken");
        let mut bytes = Vec::new();
        // A reset after the answer is an end like any other.
        let _ = stream.read_to_end(&mut bytes).await;
        parse_http1(&bytes)
    }

    fn http1_bytes(&self) -> Vec<u8> {
        let sent = &self.request;
        let version = sent.version.as_deref().unwrap_or("1.1");
        let mut text = format!("{} {} HTTP/{version}\r\n", sent.method, sent.target);
        if !sent.without_host {
            text += &format!("Host: {}\r\n", sent.authority);
        }
        text += &format!("X-Row: {}\r\n", self.id());
        for (name, value) in &sent.headers {
            text += &format!("{name}: {value}\r\n");
        }
        if !sent
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("connection"))
        {
            text += "Connection: close\r\n";
        }
        match (&sent.body, sent.chunked) {
            (Some(body), true) => {
                text += &format!(
                    "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
                    body.len()
                );
            }
            (Some(body), false) => text += &format!("Content-Length: {}\r\n\r\n{body}", body.len()),
            (None, _) => text += "\r\n",
        }
        unescape(&text)
    }

    async fn send_http2(&self, port: u16) -> Answer {
        let stream = TcpStream::connect(("127.0.0.1", port))
            .await
            .expect("the contender listens");
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("HTTP/2");
        let driver = tokio::spawn(connection);
        let sent = &self.request;
        let uri = format!("http://{}{}", sent.authority, sent.target);
        let mut request = http::Request::builder()
            .method(sent.method.as_str())
            .uri(uri)
            .header("x-row", self.id());
        for (name, value) in &sent.headers {
            request = request.header(name, value);
        }
        let body = Full::new(Bytes::from(sent.body.clone().unwrap_or_default()));
        let response = sender
            .send_request(request.body(body).expect("a well-formed row"))
            .await;
        let answer = match response {
            Ok(response) => read_http2(response).await,
            Err(_) => Answer::default(),
        };
        driver.abort();
        answer
    }
}

async fn read_http2(response: http::Response<hyper::body::Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    let mut answer = Answer {
        status: Some(head.status.as_u16()),
        ..Default::default()
    };
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        answer
            .headers
            .entry(name.to_string())
            .or_default()
            .push(value);
    }
    match body.collect().await {
        Ok(collected) => {
            let trailers = collected
                .trailers()
                .map(|t| format!("{t:?}"))
                .unwrap_or_default();
            answer.body = String::from_utf8_lossy(&collected.to_bytes()).into_owned() + &trailers;
        }
        Err(_) => answer.body = "broken off".to_owned(),
    }
    answer
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x") {
        bytes.extend_from_slice(before.as_bytes());
        let (digits, after) = after.split_at(2);
        bytes.push(u8::from_str_radix(digits, 16).expect("two hexadecimal digits after \\x"));
        rest = after;
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// Reads a whole answer. Framing is undone, because Envoy and we may cut chunks differently.
fn parse_http1(bytes: &[u8]) -> Answer {
    let mut rest = bytes;
    loop {
        let mut storage = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut storage);
        let Ok(httparse::Status::Complete(length)) = head.parse(rest) else {
            return Answer {
                body: String::from_utf8_lossy(rest).into_owned(),
                ..Default::default()
            };
        };
        rest = &rest[length..];
        if head.code == Some(100) {
            continue;
        }
        let mut answer = Answer {
            status: head.code,
            ..Default::default()
        };
        for header in head.headers.iter() {
            let value = String::from_utf8_lossy(header.value).into_owned();
            answer
                .headers
                .entry(header.name.to_ascii_lowercase())
                .or_default()
                .push(value);
        }
        let chunked = answer
            .headers
            .get("transfer-encoding")
            .is_some_and(|v| v == &["chunked"]);
        answer.body = if chunked {
            unchunk(rest)
        } else {
            String::from_utf8_lossy(rest).into_owned()
        };
        return answer;
    }
}

fn unchunk(mut rest: &[u8]) -> String {
    let mut body = Vec::new();
    while let Ok(httparse::Status::Complete((start, length))) = httparse::parse_chunk_size(rest) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        rest = &rest[start..];
        if length == 0 {
            break;
        }
        body.extend_from_slice(&rest[..length.min(rest.len())]);
        rest = rest.get(length + 2..).unwrap_or_default();
    }
    String::from_utf8_lossy(&body).into_owned() + &String::from_utf8_lossy(rest)
}
