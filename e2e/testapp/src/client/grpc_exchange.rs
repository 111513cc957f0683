//! One call of the echo service.

use anyhow::Context;
use http::uri::PathAndQuery;
use tokio_stream::Stream;
use tonic::{
    Request, Status, Streaming,
    metadata::{KeyAndValueRef, MetadataMap},
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use super::{Answer, ClientArgs, Failure, http_exchange, name_and_value};
use crate::grpc::{EchoReply, EchoRequest, Method};

/// A worker's call and its channel.
pub(super) struct GrpcExchange {
    channel: Channel,
    method: Method,
    headers: http::HeaderMap,
    request: EchoRequest,
    messages: u32,
}

impl GrpcExchange {
    pub(super) fn new(args: &ClientArgs, url: &str, method: Method) -> anyhow::Result<Self> {
        let endpoint = match &args.connect {
            Some(address) => Endpoint::from_shared(format!("http://{address}"))?.origin(
                url.parse()
                    .with_context(|| format!("not a URL: \"{url}\""))?,
            ),
            None => Endpoint::from_shared(url.to_owned())?,
        };
        let headers = args.headers.iter().map(|field| name_and_value(field));
        Ok(Self {
            channel: endpoint.connect_lazy(),
            method,
            headers: headers.collect::<anyhow::Result<_>>()?,
            request: EchoRequest {
                message: args.body.clone().unwrap_or_else(|| "hello".to_owned()),
                replies: args.messages,
                status: args.grpc_status,
                delay_ms: 0,
            },
            messages: args.messages,
        })
    }

    pub(super) async fn once(&self) -> Result<Answer, Failure> {
        let mut answer = Answer {
            protocol: "gRPC".to_owned(),
            ..Answer::default()
        };
        let called = self.call(&mut answer).await;
        let status = match called {
            Ok(trailers) => {
                answer.trailers = http_exchange::fields(&trailers.into_headers());
                Status::ok("")
            }
            Err(status) => status,
        };
        answer.status = (status.code() as i32).to_string();
        if status.code() != tonic::Code::Ok {
            answer.trailers = texts(status.metadata());
            status.message().clone_into(&mut answer.body);
        }
        Ok(answer)
    }

    async fn call(&self, answer: &mut Answer) -> Result<MetadataMap, Status> {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        grpc.ready()
            .await
            .map_err(|error| Status::unavailable(Failure::at("connect", &error).to_string()))?;
        let path = PathAndQuery::from_static(self.method.path());
        let mut request = Request::new(self.requests());
        *request.metadata_mut() = MetadataMap::from_headers(self.headers.clone());
        let codec = ProstCodec::<EchoRequest, EchoReply>::default();
        let response = grpc.streaming(request, path, codec).await?;
        let (metadata, mut replies, _) = response.into_parts();
        answer.headers = http_exchange::fields(&metadata.into_headers());
        self.read(&mut replies, answer).await?;
        Ok(replies.trailers().await?.unwrap_or_default())
    }

    fn requests(&self) -> impl Stream<Item = EchoRequest> + Send + 'static {
        let count = match self.method {
            Method::Unary | Method::ServerStream => 1,
            Method::ClientStream | Method::Bidi => self.messages,
        };
        let request = self.request.clone();
        tokio_stream::iter((0..count).map(move |_| request.clone()))
    }

    async fn read(
        &self,
        replies: &mut Streaming<EchoReply>,
        answer: &mut Answer,
    ) -> Result<(), Status> {
        while let Some(reply) = replies.message().await? {
            if u64::from(reply.sequence) != answer.messages {
                return Err(Status::data_loss("a reply is missing"));
            }
            answer.messages += 1;
            answer.body_bytes += reply.message.len() as u64;
            answer.body = reply.message;
            for (name, value) in [("x-pod", reply.pod), ("x-version", reply.version)] {
                answer.headers.insert(name.to_owned(), value);
            }
        }
        let expected = match self.method {
            Method::Unary | Method::ClientStream => 1,
            Method::ServerStream | Method::Bidi => u64::from(self.messages),
        };
        if answer.messages != expected {
            return Err(Status::data_loss("the number of replies is wrong"));
        }
        Ok(())
    }
}

fn texts(metadata: &MetadataMap) -> std::collections::BTreeMap<String, String> {
    metadata
        .iter()
        .filter_map(|field| match field {
            KeyAndValueRef::Ascii(name, value) => {
                Some((name.to_string(), value.to_str().ok()?.to_owned()))
            }
            KeyAndValueRef::Binary(..) => None,
        })
        .collect()
}
