//! Responses as the body of an HTTP response, in gRPC's framing, encoded while they are sent.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::http::HeaderMap;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::Stream;
use http_body::{Body, Frame};
use tonic::{Code, Status};
use xds::delta::{Pieces, Response};

/// What is encoded at a time, until the socket has taken it.
const PIECE_BYTES: usize = 32 * 1024;

/// A stream of responses as a body.
pub(super) struct Responses<S> {
    responses: S,
    /// What is under way.
    pieces: Option<Pieces>,
    ended: bool,
}

impl<S> Responses<S> {
    pub(super) fn new(responses: S) -> Self {
        Self {
            responses,
            pieces: None,
            ended: false,
        }
    }
}

impl<S> Body for Responses<S>
where
    S: Stream<Item = Result<Response, Status>> + Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(pieces) = &mut self.pieces {
            let piece = pieces.next(BytesMut::new(), PIECE_BYTES);
            if !piece.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            self.pieces = None;
        }
        let next = Pin::new(&mut self.responses).poll_next(context);
        let status = match ready!(next) {
            Some(Ok(response)) => {
                let (pieces, first) = begin(response);
                self.pieces = Some(pieces);
                return Poll::Ready(Some(Ok(Frame::data(first))));
            }
            Some(Err(status)) => status,
            None => Status::new(Code::Ok, ""),
        };
        self.ended = true;
        let mut trailers = HeaderMap::new();
        status.add_header(&mut trailers)?;
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

/// The prefix of gRPC (not compressed, length) with the first piece.
fn begin(response: Response) -> (Pieces, Bytes) {
    let mut pieces = response.into_pieces();
    let len = u32::try_from(pieces.message_len()).expect("a response is shorter than 4 GiB");
    let mut first = BytesMut::new();
    first.put_u8(0);
    first.put_u32(len);
    let first = pieces.next(first, PIECE_BYTES);
    (pieces, first)
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::BodyExt as _;
    use xds::delta::SharedResource;
    use xds::prost::Message as _;
    use xds::type_url::ResourceType;
    use xds::version::Version;

    use super::*;

    fn response(bytes: usize) -> Response {
        let value = vec![7; bytes];
        let url = ResourceType::Cluster.url();
        let resource = SharedResource::new("a".into(), Version::UNKNOWN, url, &value);
        Response {
            resource_type: ResourceType::Cluster,
            nonce: "1".into(),
            resources: vec![resource; 3],
            removed: Vec::new(),
        }
    }

    #[tokio::test]
    async fn the_body_is_framed_messages_and_a_status() {
        let sent = [response(10), response(20_000)];
        let mut expected = Vec::new();
        for response in sent.clone() {
            let message = response.into_message().encode_to_vec();
            expected.push(0);
            expected.put_u32(u32::try_from(message.len()).unwrap());
            expected.extend(message);
        }
        let items = sent
            .map(Ok)
            .into_iter()
            .chain([Err(Status::aborted("why"))]);
        let mut body = Responses::new(stream::iter(items));
        let mut data = Vec::new();
        loop {
            let frame = body.frame().await.unwrap().unwrap();
            match frame.into_data() {
                Ok(piece) => {
                    assert!(piece.len() <= PIECE_BYTES + 16 * 1024, "{}", piece.len());
                    data.extend_from_slice(&piece);
                }
                Err(last) => {
                    let trailers = last.into_trailers().unwrap();
                    assert_eq!(trailers["grpc-status"], "10");
                    assert_eq!(trailers["grpc-message"], "why");
                    break;
                }
            }
        }
        assert_eq!(data, expected);
        assert!(body.frame().await.is_none());
    }
}
