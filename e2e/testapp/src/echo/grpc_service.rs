//! gRPC: the four methods of the echo service.

use std::{pin::Pin, sync::Arc, time::Duration};

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Status, Streaming, metadata::MetadataValue, server::Grpc};
use tonic_prost::ProstCodec;

use super::{Echo, http_service::Body};
use crate::grpc::{EchoReply, EchoRequest, Method};

const REPLIES_MAX: u32 = 100_000;

type Replies = Pin<Box<dyn Stream<Item = Result<EchoReply, Status>> + Send>>;

/// Answers one call.
///
/// Every method goes through tonic's streaming form: on the wire a unary call is a stream of one message.
pub(super) async fn answer(echo: Arc<Echo>, request: Request<Incoming>) -> Response<Body> {
    let response = match Method::from_path(request.uri().path()) {
        Some(method) => {
            echo.counts.request(method.path());
            let call = tower::service_fn(move |request: tonic::Request<Streaming<EchoRequest>>| {
                let requests = request.into_inner();
                let replies = replies(echo.clone(), method, requests);
                async move { replies.await.map(tonic::Response::new) }
            });
            let codec = ProstCodec::<EchoReply, EchoRequest>::default();
            Grpc::new(codec).streaming(call, request).await
        }
        None => Status::unimplemented("unknown method").into_http(),
    };
    response.map(|body| body.map_err(Into::into).boxed_unsync())
}

async fn replies(
    echo: Arc<Echo>,
    method: Method,
    mut requests: Streaming<EchoRequest>,
) -> Result<Replies, Status> {
    match method {
        Method::Unary | Method::ServerStream => {
            let request = requests.message().await?;
            let request = request.ok_or_else(|| Status::invalid_argument("no message"))?;
            let count = match method {
                Method::Unary => 1,
                _ => request.replies.min(REPLIES_MAX),
            };
            wait(&request).await;
            if count <= 1 {
                end(&request)?;
            }
            Ok(Box::pin(repeated(echo, request, count)))
        }
        Method::ClientStream => {
            let mut messages = Vec::new();
            while let Some(request) = requests.message().await? {
                wait(&request).await;
                end(&request)?;
                messages.push(request.message);
            }
            let reply = echo.reply(messages.join(","), 0);
            Ok(Box::pin(tokio_stream::once(Ok(reply))))
        }
        Method::Bidi => {
            let mut sequence = 0;
            Ok(Box::pin(requests.map(move |request| {
                let request = request?;
                end(&request)?;
                sequence += 1;
                Ok(echo.reply(request.message, sequence - 1))
            })))
        }
    }
}

/// `count` replies, then the status that the request asks for.
fn repeated(
    echo: Arc<Echo>,
    request: EchoRequest,
    count: u32,
) -> impl Stream<Item = Result<EchoReply, Status>> + Send {
    let last = tokio_stream::iter(end(&request).err().map(Err));
    let message = request.message;
    tokio_stream::iter(0..count)
        .map(move |sequence| Ok(echo.reply(message.clone(), sequence)))
        .chain(last)
}

async fn wait(request: &EchoRequest) {
    if request.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(request.delay_ms.into())).await;
    }
}

fn end(request: &EchoRequest) -> Result<(), Status> {
    match Code::from(request.status) {
        Code::Ok => Ok(()),
        code => {
            let mut status = Status::new(code, "as the request asked");
            let detail = MetadataValue::from_static("asked");
            status.metadata_mut().insert("x-detail", detail);
            Err(status)
        }
    }
}

impl Echo {
    fn reply(&self, message: String, sequence: u32) -> EchoReply {
        EchoReply {
            message,
            pod: self.pod.clone(),
            version: self.version.clone(),
            sequence,
        }
    }
}
