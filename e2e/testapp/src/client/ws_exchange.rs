//! One WebSocket: upgrade, exchange messages, close.

use anyhow::Context;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;

use super::{Answer, ClientArgs, Failure, http_connection::Target, http_exchange, name_and_value};
use crate::websocket::{self, Frame, Opcode};

// Any 16 bytes will do; the server's answer to them is checked.
const KEY: &str = "d2VmdC10ZXN0YXBwLWtleQ==";
const MASK: [u8; 4] = [0x5a, 0x17, 0xc3, 0x88];

/// What to do on each connection.
pub(super) struct WsExchange {
    target: Target,
    uri: Uri,
    headers: http::HeaderMap,
    message: String,
    messages: u32,
}

impl WsExchange {
    pub(super) fn new(args: &ClientArgs, url: &str) -> anyhow::Result<Self> {
        let uri: Uri = url
            .parse()
            .with_context(|| format!("not a URL: \"{url}\""))?;
        let headers = args.headers.iter().map(|field| name_and_value(field));
        Ok(Self {
            target: Target::new(&uri, args, false)?,
            headers: headers.collect::<anyhow::Result<_>>()?,
            message: args.body.clone().unwrap_or_else(|| "hello".to_owned()),
            messages: args.messages,
            uri,
        })
    }

    pub(super) async fn once(&self) -> Result<Answer, Failure> {
        let mut connection = self.target.connect().await?;
        let mut response = connection.send(self.handshake()?).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return http_exchange::read(response).await;
        }
        let accept = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
        if accept.map(|accept| accept.as_bytes()) != Some(websocket::accept_key(KEY).as_bytes()) {
            return Err(Failure("wrong sec-websocket-accept".to_owned()));
        }
        let mut answer = Answer {
            status: "101".to_owned(),
            protocol: format!("{:?}", response.version()),
            headers: http_exchange::fields(response.headers()),
            ..Answer::default()
        };
        let upgraded = hyper::upgrade::on(&mut response)
            .await
            .map_err(|error| Failure::at("upgrade", &error))?;
        self.talk(&mut TokioIo::new(upgraded), &mut answer)
            .await
            .map_err(|error| Failure::at("websocket", &error))?;
        Ok(answer)
    }

    fn handshake(&self) -> Result<Request<super::http_connection::Body>, Failure> {
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let host = self
            .uri
            .authority()
            .map_or("", |authority| authority.as_str());
        let mut request = Request::get(path)
            .header(header::HOST, host)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, KEY)
            .body(Empty::new().boxed_unsync())
            .map_err(|error| Failure::at("request", &error))?;
        request.headers_mut().extend(self.headers.clone());
        Ok(request)
    }

    async fn talk<S>(&self, stream: &mut S, answer: &mut Answer) -> std::io::Result<()>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        for index in 0..self.messages {
            let sent = Frame {
                opcode: Opcode::Text,
                payload: format!("{} {index}", self.message).into_bytes(),
            };
            websocket::write_frame(stream, &sent, Some(MASK)).await?;
            let received = websocket::read_frame(stream).await?;
            if received != sent {
                return Err(std::io::Error::other("another message came back"));
            }
            answer.messages += 1;
            answer.body_bytes += received.payload.len() as u64;
            answer.body = String::from_utf8_lossy(&received.payload).into_owned();
        }
        let close = Frame {
            opcode: Opcode::Close,
            payload: 1000_u16.to_be_bytes().to_vec(),
        };
        websocket::write_frame(stream, &close, Some(MASK)).await?;
        websocket::read_frame(stream).await?;
        Ok(())
    }
}
