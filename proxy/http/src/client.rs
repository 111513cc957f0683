//! One try to get a response from an upstream, and what its failures mean: retries, flags, details and the
//! text of the local reply, as Envoy has them.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{HOST, HeaderName, HeaderValue};
use http::uri::{Authority, Parts, PathAndQuery, Scheme as UriScheme};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;

use super::attempt::Target;
use super::body::RequestBody;
use super::framing;
use super::local_reply::LocalReply;
use super::stream::{RequestHead, Scheme};
use crate::telemetry::stream_info::{ResponseFlags, StreamInfo};
use crate::upstream::{
    ConnectError, Host, HttpConnectOptions, HttpSender, Outcome, SendError, SendFailure,
};

const OVERLOADED: HeaderName = HeaderName::from_static("x-envoy-overloaded");

/// How often a request may meet a pooled connection that closes before taking it.
const STALE_CONNECTIONS_MAX: u32 = 3;

/// Why a try ended without a response (`StreamResetReason`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// We gave it up.
    Local,
    /// The upstream reset the stream.
    Remote,
    /// The upstream refused the stream unprocessed.
    RemoteRefused,
    /// No connection: `connect_timeout`.
    ConnectionTimeout,
    /// No connection: TLS failed.
    LocalConnectionFailure,
    /// No connection: refused or unreachable.
    RemoteConnectionFailure,
    /// The connection ended.
    ConnectionTermination,
    /// A circuit breaker is open.
    Overflow,
    /// What came is not HTTP.
    Protocol,
}

impl Reset {
    /// True if there never was a connection.
    pub fn is_connection_failure(self) -> bool {
        matches!(
            self,
            Self::ConnectionTimeout | Self::LocalConnectionFailure | Self::RemoteConnectionFailure
        )
    }

    fn text(self) -> &'static str {
        match self {
            Self::Local => "local reset",
            Self::Remote => "remote reset",
            Self::RemoteRefused => "remote refused stream reset",
            Self::ConnectionTimeout => "connection timeout",
            Self::LocalConnectionFailure => "local connection failure",
            Self::RemoteConnectionFailure => "remote connection failure",
            Self::ConnectionTermination => "connection termination",
            Self::Overflow => "overflow",
            Self::Protocol => "protocol error",
        }
    }

    fn flag(self) -> ResponseFlags {
        match self {
            Self::Local => ResponseFlags::LOCAL_RESET,
            Self::Remote | Self::RemoteRefused => ResponseFlags::UPSTREAM_REMOTE_RESET,
            Self::ConnectionTimeout
            | Self::LocalConnectionFailure
            | Self::RemoteConnectionFailure => ResponseFlags::UPSTREAM_CONNECTION_FAILURE,
            Self::ConnectionTermination => ResponseFlags::UPSTREAM_CONNECTION_TERMINATION,
            Self::Overflow => ResponseFlags::UPSTREAM_OVERFLOW,
            Self::Protocol => ResponseFlags::UPSTREAM_PROTOCOL_ERROR,
        }
    }
}

/// A try that ended without a response.
#[derive(Debug)]
pub struct Failure {
    /// Why.
    pub reset: Reset,
    /// Why the connection failed, in the transport's words.
    pub transport: Option<String>,
    /// Something of the request was sent.
    pub started: bool,
    /// It was the client's body that failed.
    pub client_gone: bool,
}

impl Failure {
    /// The local reply. `retried` says whether other tries came before.
    pub fn reply(&self, retried: bool, suppress_envoy_headers: bool) -> LocalReply {
        let reason = self.reset.text();
        let retried = if retried {
            "retried and the latest "
        } else {
            ""
        };
        // Why the connection failed is told to logs, not to clients.
        let transport = self.transport.as_deref().unwrap_or_default();
        let pipe = if transport.is_empty() { "" } else { "|" };
        let body = format!(
            "upstream connect error or disconnect/reset before headers. {retried}reset reason: \
             {reason}"
        );
        let details =
            format!("upstream_reset_before_response_started{{{reason}{pipe}{transport}}}");
        let status = match self.reset {
            Reset::Protocol => StatusCode::BAD_GATEWAY,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        let details: Cow<'static, str> = details.replace(char::is_whitespace, "_").into();
        let reply = LocalReply::new(status, body, details, self.reset.flag());
        if self.reset == Reset::Overflow && !suppress_envoy_headers {
            return reply.with_header(OVERLOADED, HeaderValue::from_static("true"));
        }
        reply
    }
}

/// Sends a request to a host. The response comes with the place on its connection, which is kept until the body has
/// ended.
pub async fn send(
    target: Target<'_>,
    head: RequestHead,
    info: &mut StreamInfo,
    body: RequestBody,
) -> Result<(Response<Incoming>, HttpSender), Failure> {
    let (mut outgoing, mut body) = (Outgoing(head), body);
    let mut stale = 0;
    loop {
        let connected = outgoing.connect(target).await;
        let mut sender = connected.map_err(|error| connect_failure(target.host, &error))?;
        let facts = sender.facts();
        info.upstream_host = Some(facts.info.remote);
        info.upstream_local = Some(facts.info.local);
        info.upstream_connection = Some(facts.info.clone());
        info.upstream_endpoint = Some(target.host.named().clone());
        sender.record(Outcome::Connected);
        let request = outgoing.take_request(sender.version(), body);
        match sender.send(request).await {
            Ok(response) => {
                return match is_sound(&response, &sender, &outgoing.0) {
                    true => Ok((response, sender)),
                    // The sender is dropped unfinished, which closes the connection.
                    false => Err(unsound(&sender)),
                };
            }
            Err(SendError {
                kind: SendFailure::NotSent,
                request: Some(request),
                ..
            }) if stale < STALE_CONNECTIONS_MAX => {
                // The connection had closed while it was idle; nothing was sent, so this is no retry.
                stale += 1;
                body = outgoing.put_back(*request);
            }
            Err(error) => return Err(send_failure(&sender, &error)),
        }
    }
}

fn connect_failure(host: &Host, error: &ConnectError) -> Failure {
    let reset = match error {
        ConnectError::Overflow(_) => Reset::Overflow,
        ConnectError::Timeout => Reset::ConnectionTimeout,
        ConnectError::Tls(_) | ConnectError::Protocol(_) => Reset::LocalConnectionFailure,
        ConnectError::Socket(_) => Reset::RemoteConnectionFailure,
    };
    if reset != Reset::Overflow {
        host.record(Outcome::LocalFailure);
    }
    let reason = match error {
        ConnectError::Timeout => String::new(),
        error => error.transport_failure_reason(),
    };
    Failure {
        reset,
        transport: (!reason.is_empty()).then_some(reason),
        started: false,
        client_gone: false,
    }
}

fn send_failure(sender: &HttpSender, error: &SendError) -> Failure {
    let reset = match error.kind {
        SendFailure::Refused => Reset::RemoteRefused,
        SendFailure::Reset => Reset::Remote,
        SendFailure::NotSent | SendFailure::ConnectionTermination => Reset::ConnectionTermination,
        SendFailure::Protocol => Reset::Protocol,
        SendFailure::RequestBody => Reset::Local,
    };
    let client_gone = error.kind == SendFailure::RequestBody;
    if !client_gone {
        sender.record(Outcome::LocalFailure);
    }
    Failure {
        reset,
        transport: None,
        started: error.kind != SendFailure::NotSent,
        client_gone,
    }
}

/// HTTP/2 delimits responses by itself, and its library checks what they announce.
fn is_sound(response: &Response<Incoming>, sender: &HttpSender, head: &RequestHead) -> bool {
    sender.version() == Version::HTTP_2
        || framing::is_sound(
            response.status(),
            response.headers(),
            head.upgrade.as_deref(),
        )
}

fn unsound(sender: &HttpSender) -> Failure {
    sender.record(Outcome::LocalFailure);
    Failure {
        reset: Reset::Protocol,
        transport: None,
        started: true,
        client_gone: false,
    }
}

/// A request's head on its way to the wire. Its parts move into the request, and back if it was not sent.
#[derive(Debug)]
struct Outgoing(RequestHead);

impl Outgoing {
    async fn connect(&self, target: Target<'_>) -> Result<HttpSender, ConnectError> {
        let head = &self.0;
        let options = HttpConnectOptions {
            priority: target.priority,
            // Upgrades are HTTP/1 upstream. Differs from Envoy, which may use extended CONNECT.
            downstream_version: match head.upgrade {
                Some(_) => Version::HTTP_11,
                None => head.version,
            },
            authority: std::str::from_utf8(head.authority()).ok(),
        };
        target.cluster.http(target.host, &options).await
    }

    /// The request as it goes on the wire of a protocol.
    fn take_request(&mut self, version: Version, body: RequestBody) -> Request<RequestBody> {
        let head = &mut self.0;
        let mut headers = std::mem::take(&mut head.headers);
        let mut uri = Parts::default();
        if head.method != Method::CONNECT {
            let root = PathAndQuery::from_static("/");
            uri.path_and_query = Some(std::mem::replace(&mut head.path, root));
        }
        if version == Version::HTTP_2 {
            let authority = headers.get(HOST).map(HeaderValue::as_bytes);
            if let Some(Ok(authority)) = authority.map(Authority::try_from) {
                uri.scheme = Some(match head.scheme {
                    Scheme::Http => UriScheme::HTTP,
                    Scheme::Https => UriScheme::HTTPS,
                });
                uri.authority = Some(authority);
                headers.remove(HOST);
            }
        }
        framing::request(head, &mut headers, version, framing::length(&body));
        let mut request = Request::new(body);
        if version == Version::HTTP_2 {
            *request.version_mut() = Version::HTTP_2;
        }
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
        *request.headers_mut() = headers;
        request
    }

    /// Takes back what was not sent, for a connection that may speak another protocol.
    fn put_back(&mut self, request: Request<RequestBody>) -> RequestBody {
        let head = &mut self.0;
        let (parts, body) = request.into_parts();
        head.headers = parts.headers;
        let uri = parts.uri.into_parts();
        if let Some(path) = uri.path_and_query {
            head.path = path;
        }
        if let Some(authority) = uri.authority
            && let Ok(authority) = HeaderValue::from_str(authority.as_str())
        {
            head.headers.insert(HOST, authority);
        }
        body
    }
}

/// The upstream's response broke off after its head was sent to the client.
pub fn note_response_cut(info: &mut StreamInfo, error: &hyper::Error) {
    let terminated = !error.is_body_write_aborted()
        && find_h2(error).is_none_or(|error| !(error.is_reset() && error.is_remote()));
    if !terminated {
        return note_response_reset(info);
    }
    info.flags.insert(Reset::ConnectionTermination.flag());
    info.response_code_details =
        "upstream_reset_after_response_started{connection_termination}".into();
}

/// The upstream reset the stream after the head of its response was sent to the client.
pub fn note_response_reset(info: &mut StreamInfo) {
    info.flags.insert(Reset::Remote.flag());
    info.response_code_details = "upstream_reset_after_response_started{remote_reset}".into();
}

fn find_h2(error: &hyper::Error) -> Option<&h2::Error> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(found) = error.downcast_ref::<h2::Error>() {
            return Some(found);
        }
        source = error.source();
    }
    None
}

/// The local reply to a response that breaks HTTP after its head was taken for sound.
pub fn protocol_error() -> LocalReply {
    let failure = Failure {
        reset: Reset::Protocol,
        transport: None,
        started: true,
        client_gone: false,
    };
    failure.reply(false, false)
}

/// The local reply when no endpoint can take the request.
pub fn no_healthy_upstream() -> LocalReply {
    LocalReply::new(
        StatusCode::SERVICE_UNAVAILABLE,
        Bytes::from_static(b"no healthy upstream"),
        "no_healthy_upstream",
        ResponseFlags::NO_HEALTHY_UPSTREAM,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_envoys() {
        let failure = |reset, transport: Option<&str>| Failure {
            reset,
            transport: transport.map(str::to_owned),
            started: false,
            client_gone: false,
        };
        let refused = failure(
            Reset::RemoteConnectionFailure,
            Some("delayed connect error: 111"),
        );
        let reply = refused.reply(false, false);
        assert_eq!(
            &reply.body[..],
            b"upstream connect error or disconnect/reset before headers. reset reason: remote \
              connection failure"
        );
        assert_eq!(
            reply.details,
            "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_111}"
        );
        assert_eq!(reply.flags, ResponseFlags::UPSTREAM_CONNECTION_FAILURE);
        let reply = failure(Reset::Overflow, None).reply(true, false);
        assert_eq!(
            &reply.body[..],
            b"upstream connect error or disconnect/reset before headers. retried and the latest \
              reset reason: overflow"
        );
        assert_eq!(reply.headers[OVERLOADED], "true");
        assert_eq!(
            failure(Reset::Protocol, None).reply(false, false).status,
            502
        );
    }
}
