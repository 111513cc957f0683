//! One HTTP request over a connection that somebody else opened.

use std::fmt;

use anyhow::Result;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::rt::{Read, Write};

/// How much of a refusal is shown.
const REASON_CHARS_MAX: usize = 500;

/// A page that was not given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// Which page of which pod.
    page: String,
    /// The status.
    status: StatusCode,
    /// What the server says.
    reason: String,
}

impl Refused {
    /// Whether the server asks who is asking, or does not want this one.
    pub(super) fn is_about_identity(&self) -> bool {
        [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&self.status)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.page, self.status)?;
        match self.reason.as_str() {
            "" => Ok(()),
            reason => write!(f, ": {reason}"),
        }
    }
}

impl std::error::Error for Refused {}

/// Asks for `path`, with a bearer token if there is one; `pod` is named in errors.
pub(super) async fn get(
    stream: impl Read + Write + Unpin,
    pod: &str,
    path: &str,
    token: Option<&str>,
) -> Result<Bytes> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    let mut request = Request::get(path).header(header::HOST, "localhost");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        let reason = String::from_utf8_lossy(&body);
        let legible = reason.trim().chars().filter(|c| !c.is_control());
        Err(anyhow::Error::new(Refused {
            page: format!("{path} of pod \"{pod}\""),
            status,
            reason: legible.take(REASON_CHARS_MAX).collect(),
        }))
    };
    tokio::pin!(answer, connection);
    // The connection must be driven while the answer is awaited; it may end first.
    let mut open = true;
    loop {
        tokio::select! {
            answer = &mut answer => return answer,
            _ = &mut connection, if open => open = false,
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// The request that is sent, and what comes of the response.
    async fn exchange(token: Option<&str>, response: &str) -> (String, Result<Bytes>) {
        let (client, mut server) = duplex(1 << 16);
        let serve = async {
            let mut request = vec![0; 1 << 12];
            let length = server.read(&mut request).await.unwrap();
            server.write_all(response.as_bytes()).await.unwrap();
            request.truncate(length);
            String::from_utf8(request).unwrap()
        };
        tokio::join!(
            serve,
            get(TokioIo::new(client), "istiod-1", "/debug/syncz", token)
        )
    }

    #[tokio::test]
    async fn a_token_is_sent_if_there_is_one() {
        let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]";
        let (request, answer) = exchange(None, ok).await;
        assert!(!request.contains("authorization"), "{request}");
        assert_eq!(answer.unwrap(), "[]");
        let (request, _) = exchange(Some("a.b.c"), ok).await;
        assert!(
            request.contains("authorization: Bearer a.b.c\r\n"),
            "{request}"
        );
    }

    #[tokio::test]
    async fn a_refusal_says_why() {
        let refusal =
            "HTTP/1.1 401 Unauthorized\r\ncontent-length: 17\r\n\r\nbring a \x1b[1mtoken\n";
        let (_, answer) = exchange(None, refusal).await;
        let error = answer.unwrap_err();
        assert!(error.downcast_ref::<Refused>().unwrap().is_about_identity());
        assert_eq!(
            error.to_string(),
            "/debug/syncz of pod \"istiod-1\": 401 Unauthorized: bring a [1mtoken"
        );
    }
}
