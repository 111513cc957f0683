//! The requests of a stream, as bytes.
//!
//! tonic's own reader keeps a buffer as long as the longest message of a stream for as long as the
//! stream lives, and that is its first; here a stream without a request under way keeps none.

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tonic::Status;
use tonic::body::Body;

use super::request::REQUEST_BYTES_MAX;

/// Before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Reads messages in gRPC's framing.
#[derive(Debug)]
pub struct Requests {
    body: Body,
    /// What was received and is not a whole message yet.
    received: BytesMut,
}

impl Requests {
    /// The requests in a body.
    pub fn new(body: Body) -> Self {
        Self {
            body,
            received: BytesMut::new(),
        }
    }

    /// The next message, or none at the end. Nothing is lost when it is dropped before.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(message) = self.message()? {
                return Ok(Some(message));
            }
            let Some(frame) = self.body.frame().await else {
                return match self.received.is_empty() {
                    true => Ok(None),
                    false => Err(Status::internal("the stream ends within a request")),
                };
            };
            if let Ok(data) = frame?.into_data() {
                self.received.extend_from_slice(&data);
            }
        }
    }

    fn message(&mut self) -> Result<Option<Bytes>, Status> {
        let Some(prefix) = self.received.first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let [compressed, len @ ..] = *prefix;
        if compressed != 0 {
            return Err(Status::unimplemented("compressed requests are not read"));
        }
        let len = u32::from_be_bytes(len) as usize;
        if len > REQUEST_BYTES_MAX {
            return Err(Status::invalid_argument(format!(
                "request of {len} bytes, the limit is {REQUEST_BYTES_MAX}"
            )));
        }
        if self.received.len() < PREFIX_BYTES + len {
            return Ok(None);
        }
        self.received.advance(PREFIX_BYTES);
        let message = self.received.split_to(len).freeze();
        // A copy of what has begun to follow, mostly nothing, frees the rest.
        self.received = BytesMut::from(&self.received[..]);
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(chunks: Vec<Vec<u8>>) -> Requests {
        let frames = chunks
            .into_iter()
            .map(|chunk| Ok::<_, Status>(http_body::Frame::data(Bytes::from(chunk))));
        let body = http_body_util::StreamBody::new(futures_util::stream::iter(frames));
        Requests::new(Body::new(body))
    }

    fn framed(message: &[u8]) -> Vec<u8> {
        let len = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0], &len[..], message].concat()
    }

    #[tokio::test]
    async fn messages_are_found_however_they_are_cut() {
        let bytes = [framed(b"one"), framed(b""), framed(&[7; 1000])].concat();
        for size in [1, 7, 2000] {
            let mut requests = requests(bytes.chunks(size).map(<[u8]>::to_vec).collect());
            let mut next = async || requests.next().await.unwrap();
            assert_eq!(next().await.unwrap(), "one");
            assert_eq!(next().await.unwrap(), "");
            assert_eq!(next().await.unwrap(), [7; 1000][..]);
            assert_eq!(next().await, None);
            assert_eq!(requests.received.capacity(), 0);
        }
    }

    #[tokio::test]
    async fn what_is_too_long_compressed_or_cut_off_ends_the_stream() {
        for (bytes, text) in [
            (
                vec![0, 1, 0, 0, 0],
                "request of 16777216 bytes, the limit is 3014656",
            ),
            (vec![1, 0, 0, 0, 0], "compressed requests are not read"),
            (vec![0, 0, 0, 0, 9, 1], "the stream ends within a request"),
        ] {
            let error = requests(vec![bytes]).next().await.unwrap_err();
            assert_eq!(error.message(), text);
        }
    }
}
