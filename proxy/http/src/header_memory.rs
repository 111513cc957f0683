//! How much memory the headers of requests may take, of one connection and of one worker.
//!
//! Over HTTP/2 a few bytes name a header of 4 KiB that was sent once, so that a kilobyte asks for megabytes: the
//! request as it is kept for retries, as it is written to an upstream, as it waits there. The limit on one head does
//! not bound their sum. So every request is charged for its headers from its beginning until its response begins, after
//! which its head is gone. Differs from Envoy, which has only its overload manager for this.

use std::rc::Rc;

use http::{HeaderMap, Uri};

use super::stream::HttpConnection;
use crate::upstream::worker::HeaderBytes;

/// What the requests of one connection may hold together, in bytes. 1,024 streams (the default limit) with twenty
/// headers and 3 KiB of text fit; of the largest heads (60 KiB) there may be more than a hundred.
pub const CONNECTION_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What the requests of one worker may hold together, in bytes: 8,000 such requests that all wait for a response, which
/// is beyond what one thread serves; eight connections that each take all they may.
pub const WORKER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a header takes beside its name and value: its places in the request that is kept and in the one that is sent.
/// The 32 bytes of RFC 9113 section 6.5.2 are far from what it takes here, so that many tiny headers would pass.
pub const ENTRY_BYTES: usize = 256;

/// Which bound is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// [`CONNECTION_BYTES_MAX`].
    Connection,
    /// [`WORKER_BYTES_MAX`].
    Worker,
}

/// The bytes of one request; given back when dropped.
#[derive(Debug)]
pub struct Lease {
    connection: Rc<HttpConnection>,
    bytes: usize,
}

impl Lease {
    /// Charges a connection and its worker.
    pub fn take(connection: &Rc<HttpConnection>, bytes: usize) -> Result<Self, Exhausted> {
        charge(
            &connection.header_bytes,
            &connection.worker.header_bytes,
            bytes,
        )?;
        connection
            .cells
            .downstream_rq_header_bytes
            .add(bytes as u64);
        Ok(Self {
            connection: connection.clone(),
            bytes,
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let connection = &self.connection;
        connection.header_bytes.give_back(self.bytes);
        connection.worker.header_bytes.give_back(self.bytes);
        let bytes = &connection.cells.downstream_rq_header_bytes;
        bytes.sub(self.bytes as u64);
    }
}

fn charge(connection: &HeaderBytes, worker: &HeaderBytes, bytes: usize) -> Result<(), Exhausted> {
    if !connection.fits(bytes, CONNECTION_BYTES_MAX) {
        return Err(Exhausted::Connection);
    }
    if !worker.fits(bytes, WORKER_BYTES_MAX) {
        return Err(Exhausted::Worker);
    }
    connection.take(bytes);
    worker.take(bytes);
    Ok(())
}

/// Names and values of a head, pseudo headers included: what `max_request_headers_kb` counts over HTTP/2.
pub fn text_bytes(method: &http::Method, uri: &Uri, headers: &HeaderMap) -> usize {
    let mut bytes = ":method".len() + method.as_str().len();
    if let Some(scheme) = uri.scheme_str() {
        bytes += ":scheme".len() + scheme.len();
    }
    if let Some(authority) = uri.authority() {
        bytes += ":authority".len() + authority.as_str().len();
    }
    if let Some(path) = uri.path_and_query() {
        bytes += ":path".len() + path.as_str().len();
    }
    let fields = headers.iter();
    bytes
        + fields
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum::<usize>()
}

/// What is charged for a header list with `count` entries whose names and values have `text` bytes.
pub fn list_bytes(text: usize, count: usize) -> usize {
    text + count * ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let mut headers = HeaderMap::new();
        headers.append("x-a", http::HeaderValue::from_static("1"));
        headers.append("x-a", http::HeaderValue::from_static("22"));
        let uri = Uri::from_static("http://a/b?c");
        let text = text_bytes(&http::Method::GET, &uri, &headers);
        let pseudo = ":methodGET:schemehttp:authoritya:path/b?c".len();
        assert_eq!(text, pseudo + "x-a1x-a22".len());
        assert_eq!(list_bytes(text, 6), text + 6 * ENTRY_BYTES);
    }

    #[test]
    fn what_is_held_never_exceeds_the_bounds() {
        const HEAD: usize = 60 * 1024;
        let worker = HeaderBytes::default();
        let connections: Vec<HeaderBytes> = (0..20).map(|_| HeaderBytes::default()).collect();
        let (mut by_connection, mut by_worker) = (0, 0);
        for round in 0..200 {
            for connection in &connections {
                match charge(connection, &worker, HEAD + round) {
                    Ok(()) => {}
                    Err(Exhausted::Connection) => by_connection += 1,
                    Err(Exhausted::Worker) => by_worker += 1,
                }
                assert!(connection.held() <= CONNECTION_BYTES_MAX);
                assert!(worker.held() <= WORKER_BYTES_MAX);
            }
        }
        assert!(by_worker > 0, "twenty connections exceed their worker");
        let alone = HeaderBytes::default();
        let worker = HeaderBytes::default();
        while charge(&alone, &worker, HEAD).is_ok() {}
        assert_eq!(charge(&alone, &worker, HEAD), Err(Exhausted::Connection));
        assert_eq!(alone.held(), CONNECTION_BYTES_MAX / HEAD * HEAD);
        alone.give_back(HEAD);
        assert_eq!(charge(&alone, &worker, HEAD), Ok(()));
        assert_eq!(by_connection, 0);
    }
}
