//! Three servers that can be made to fail.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How many there are.
pub(crate) const COUNT: usize = 3;

/// The servers and what they do at the moment.
#[derive(Clone)]
pub(crate) struct Origins {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) sick: Arc<[AtomicBool; COUNT]>,
    /// Requests for `/hold` wait for this to be true.
    pub(crate) released: watch::Sender<bool>,
}

impl Origins {
    pub(crate) async fn start() -> Self {
        let mut origins = Self {
            addresses: Vec::new(),
            sick: Arc::default(),
            released: watch::Sender::new(false),
        };
        for number in 0..COUNT {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            origins.addresses.push(listener.local_addr().unwrap());
            tokio::spawn(serve(listener, number, origins.clone()));
        }
        origins
    }
}

async fn serve(listener: TcpListener, number: usize, origins: Origins) {
    while let Ok((socket, _)) = listener.accept().await {
        let origins = origins.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let origins = origins.clone();
                async move { Ok::<_, Infallible>(respond(request, number, &origins).await) }
            });
            // The proxy closes connections when the cluster changes.
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}

async fn respond(
    request: Request<Incoming>,
    number: usize,
    origins: &Origins,
) -> Response<Full<Bytes>> {
    if request.uri().path() == "/hold" {
        let mut released = origins.released.subscribe();
        let _ = released.wait_for(|released| *released).await;
    }
    let mut response = Response::new(Full::from(number.to_string()));
    if origins.sick[number].load(Ordering::SeqCst) {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}
