//! Pools over real sockets on loopback.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use xds::envoy::cluster::CircuitBreakers;
use xds::envoy::cluster::circuit_breakers::Thresholds;
use xds::envoy::core::Http2ProtocolOptions;

use super::test_util::{Fixture, IntoValue, on_worker, static_cluster};
use super::*;
use crate::body::RequestBody;

/// A server that counts connections and answers with their number, when it is allowed to.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    state: Rc<ServerState>,
}

#[derive(Default)]
struct ServerState {
    accepted: Cell<u32>,
    open: Cell<u32>,
    changed: Notify,
    /// Requests wait for this if it is set.
    gate: RefCell<Option<Rc<Notify>>>,
    waiting: Cell<u32>,
    /// Close after this response.
    close: Cell<bool>,
}

impl Server {
    async fn start(http2: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            state: Rc::default(),
        };
        let state = server.state.clone();
        tokio::task::spawn_local(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let state = state.clone();
                state.accepted.set(state.accepted.get() + 1);
                state.open.set(state.open.get() + 1);
                state.changed.notify_waiters();
                let number = state.accepted.get();
                tokio::task::spawn_local(async move {
                    let service = service_fn(|_| respond(state.clone(), number));
                    let io = TokioIo::new(socket);
                    if http2 {
                        let builder = hyper::server::conn::http2::Builder::new(Local);
                        let _ = builder.serve_connection(io, service).await;
                    } else {
                        let builder = hyper::server::conn::http1::Builder::new();
                        let _ = builder.serve_connection(io, service).await;
                    }
                    state.open.set(state.open.get() - 1);
                    state.changed.notify_waiters();
                });
            }
        });
        server
    }

    /// Waits until a number of the server is as expected.
    async fn until(&self, condition: impl Fn(&ServerState) -> bool) {
        let wait = async {
            loop {
                let changed = self.state.changed.notified();
                if condition(&self.state) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait)
            .await
            .expect("it happens");
    }

    fn hold(&self) -> Rc<Notify> {
        let gate = Rc::new(Notify::new());
        *self.state.gate.borrow_mut() = Some(gate.clone());
        gate
    }
}

async fn respond(
    state: Rc<ServerState>,
    number: u32,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let gate = state.gate.borrow().clone();
    if let Some(gate) = gate {
        state.waiting.set(state.waiting.get() + 1);
        state.changed.notify_waiters();
        gate.notified().await;
    }
    let mut response = Response::new(Full::new(Bytes::from(number.to_string())));
    if state.close.get() {
        response
            .headers_mut()
            .insert("connection", http::HeaderValue::from_static("close"));
    }
    Ok(response)
}

#[derive(Clone)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

fn options() -> HttpConnectOptions<'static> {
    HttpConnectOptions {
        priority: RoutingPriority::Default,
        downstream_version: http::Version::HTTP_11,
        authority: None,
    }
}

fn request() -> Request<RequestBody> {
    let body = RequestBody::Empty;
    Request::builder()
        .uri("http://upstream/")
        .header("host", "upstream")
        .body(body)
        .unwrap()
}

/// Sends a request and returns the number of the connection that it travelled on.
async fn send(cluster: &Rc<UpstreamCluster>) -> Result<String, ConnectError> {
    let host = cluster.pick(&PickContext::default()).unwrap();
    let mut sender = cluster.http(&host, &options()).await?;
    let response = sender.send(request()).await.expect("the server answers");
    let text = read(response).await;
    sender.finish();
    Ok(text)
}

async fn read(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

fn http2_cluster(streams: u32) -> xds::envoy::cluster::Cluster {
    #[allow(deprecated, reason = "the short way to say HTTP/2")]
    xds::envoy::cluster::Cluster {
        http2_protocol_options: Some(Http2ProtocolOptions {
            max_concurrent_streams: Some(streams.into_value()),
            ..Default::default()
        }),
        ..static_cluster()
    }
}

fn limited(thresholds: Thresholds) -> xds::envoy::cluster::Cluster {
    xds::envoy::cluster::Cluster {
        circuit_breakers: Some(CircuitBreakers {
            thresholds: vec![thresholds],
            ..Default::default()
        }),
        ..static_cluster()
    }
}

#[test]
fn requests_one_after_the_other_share_a_connection() {
    on_worker(|| async {
        let server = Server::start(false).await;
        let fixture = Fixture::new(&static_cluster(), &[server.address]);
        for _ in 0..3 {
            assert_eq!(send(&fixture.cluster()).await.unwrap(), "1");
        }
        let cluster = fixture.cluster();
        let cells = cluster.cells();
        assert_eq!(
            (cells.upstream_cx_total.get(), cells.upstream_rq_total.get()),
            (1, 3)
        );
        assert_eq!(
            (
                cells.upstream_cx_active.get(),
                cells.upstream_rq_active.get()
            ),
            (1, 0)
        );
    });
}

#[test]
fn requests_at_once_have_connections_of_their_own_and_the_last_used_is_used_first() {
    on_worker(|| async {
        let server = Server::start(false).await;
        let fixture = Fixture::new(&static_cluster(), &[server.address]);
        let cluster = fixture.cluster();
        let gate = server.hold();
        let (first, second, ()) = tokio::join!(send(&cluster), send(&cluster), async {
            server.until(|state| state.waiting.get() == 2).await;
            gate.notify_waiters();
        });
        let mut both = [first.unwrap(), second.unwrap()];
        both.sort();
        assert_eq!(both, ["1", "2"]);
        server.state.gate.borrow_mut().take();
        let again = send(&cluster).await.unwrap();
        assert_eq!(send(&cluster).await.unwrap(), again);
        assert_eq!(server.state.accepted.get(), 2);
    });
}

#[test]
fn a_connection_that_the_server_closes_is_not_used_again() {
    on_worker(|| async {
        let server = Server::start(false).await;
        let fixture = Fixture::new(&static_cluster(), &[server.address]);
        let cluster = fixture.cluster();
        server.state.close.set(true);
        assert_eq!(send(&cluster).await.unwrap(), "1");
        server.until(|state| state.open.get() == 0).await;
        assert_eq!(send(&cluster).await.unwrap(), "2");
    });
}

#[test]
fn a_request_waits_for_the_one_connection_that_is_allowed() {
    on_worker(|| async {
        let server = Server::start(false).await;
        let limits = Thresholds {
            max_connections: Some(1.into_value()),
            ..Default::default()
        };
        let fixture = Fixture::new(&limited(limits), &[server.address]);
        let cluster = fixture.cluster();
        let gate = server.hold();
        let (first, second, ()) = tokio::join!(send(&cluster), send(&cluster), async {
            server.until(|state| state.waiting.get() == 1).await;
            gate.notify_one();
            server.until(|state| state.waiting.get() == 2).await;
            gate.notify_one();
        });
        assert_eq!(
            (first.unwrap().as_str(), second.unwrap().as_str()),
            ("1", "1")
        );
        assert_eq!(cluster.cells().upstream_cx_overflow.get(), 1);
    });
}

#[test]
fn a_full_queue_refuses() {
    on_worker(|| async {
        let server = Server::start(false).await;
        let limits = Thresholds {
            max_connections: Some(1.into_value()),
            max_pending_requests: Some(1.into_value()),
            ..Default::default()
        };
        let fixture = Fixture::new(&limited(limits), &[server.address]);
        let cluster = fixture.cluster();
        let gate = server.hold();
        let first = send(&cluster);
        let later = async {
            server.until(|state| state.waiting.get() == 1).await;
            let (waits, refused) = tokio::join!(
                async {
                    let waits = send(&cluster);
                    tokio::pin!(waits);
                    // It is in the queue after it was polled once.
                    tokio::select! {
                        biased;
                        done = &mut waits => done,
                        () = async { gate.notify_one(); std::future::pending::<()>().await } => unreachable!(),
                        () = async { server.until(|s| s.waiting.get() == 2).await; gate.notify_one();
                                     std::future::pending::<()>().await } => unreachable!(),
                    }
                },
                send(&cluster),
            );
            (waits, refused)
        };
        let (first, (waits, refused)) = tokio::join!(first, later);
        assert!(first.is_ok() && waits.is_ok());
        assert_eq!(
            refused.unwrap_err().overflow(),
            Some(Resource::PendingRequests)
        );
        assert_eq!(cluster.cells().upstream_rq_pending_overflow.get(), 1);
    });
}

#[test]
fn more_requests_than_allowed_are_refused() {
    on_worker(|| async {
        let server = Server::start(true).await;
        let mut config = http2_cluster(100);
        config.circuit_breakers = limited(Thresholds {
            max_requests: Some(1.into_value()),
            ..Default::default()
        })
        .circuit_breakers;
        let fixture = Fixture::new(&config, &[server.address]);
        let cluster = fixture.cluster();
        let host = cluster.pick(&PickContext::default()).unwrap();
        let held = cluster.http(&host, &options()).await.unwrap();
        let refused = cluster.http(&host, &options()).await.unwrap_err();
        assert_eq!(refused.overflow(), Some(Resource::Requests));
        drop(held);
        assert!(cluster.http(&host, &options()).await.is_ok());
    });
}

#[test]
fn a_connection_ends_after_its_number_of_requests() {
    on_worker(|| async {
        let server = Server::start(false).await;
        #[allow(deprecated, reason = "the short way to say it")]
        let config = xds::envoy::cluster::Cluster {
            max_requests_per_connection: Some(2.into_value()),
            ..static_cluster()
        };
        let fixture = Fixture::new(&config, &[server.address]);
        let cluster = fixture.cluster();
        let mut connections = Vec::new();
        for _ in 0..4 {
            connections.push(send(&cluster).await.unwrap());
        }
        assert_eq!(connections, ["1", "1", "2", "2"]);
        server.until(|state| state.open.get() == 0).await;
    });
}

#[test]
fn http2_requests_share_a_connection() {
    on_worker(|| async {
        let server = Server::start(true).await;
        let fixture = Fixture::new(&http2_cluster(100), &[server.address]);
        let cluster = fixture.cluster();
        let gate = server.hold();
        let (a, b, c, ()) = tokio::join!(send(&cluster), send(&cluster), send(&cluster), async {
            server.until(|state| state.waiting.get() == 3).await;
            gate.notify_waiters();
        });
        assert_eq!([a.unwrap(), b.unwrap(), c.unwrap()], ["1", "1", "1"]);
    });
}

#[test]
fn http2_streams_beyond_the_limit_open_another_connection() {
    on_worker(|| async {
        let server = Server::start(true).await;
        let fixture = Fixture::new(&http2_cluster(1), &[server.address]);
        let cluster = fixture.cluster();
        let gate = server.hold();
        let (a, b, ()) = tokio::join!(send(&cluster), send(&cluster), async {
            server.until(|state| state.waiting.get() == 2).await;
            gate.notify_waiters();
        });
        let mut both = [a.unwrap(), b.unwrap()];
        both.sort();
        assert_eq!(both, ["1", "2"]);
    });
}

#[test]
fn idle_http2_connections_close_too() {
    on_worker(|| async {
        let server = Server::start(true).await;
        let fixture = Fixture::new(&http2_cluster(100), &[server.address]);
        assert_eq!(send(&fixture.cluster()).await.unwrap(), "1");
        fixture.sweep(Instant::now() + Duration::from_secs(3600));
        server.until(|state| state.open.get() == 0).await;
        assert_eq!(send(&fixture.cluster()).await.unwrap(), "2");
        fixture.set_endpoints(&[]);
        fixture.sweep(Instant::now());
        server.until(|state| state.open.get() == 0).await;
    });
}

#[test]
fn a_refused_connection_says_so_in_the_systems_words() {
    on_worker(|| async {
        let closed = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        let fixture = Fixture::new(&static_cluster(), &[closed]);
        let cluster = fixture.cluster();
        let error = send(&cluster).await.unwrap_err();
        assert_eq!(
            error.transport_failure_reason(),
            "delayed connect error: Connection refused"
        );
        assert_eq!(cluster.cells().upstream_cx_connect_fail.get(), 1);
        assert_eq!(cluster.cells().upstream_cx_active.get(), 0);
    });
}

#[test]
fn a_connection_whose_exchange_is_not_known_to_be_whole_is_closed() {
    on_worker(|| async {
        let server = Server::start(false).await;
        let fixture = Fixture::new(&static_cluster(), &[server.address]);
        let cluster = fixture.cluster();
        let host = cluster.pick(&PickContext::default()).unwrap();
        let mut sender = cluster.http(&host, &options()).await.unwrap();
        let response = sender.send(request()).await.unwrap();
        assert_eq!(read(response).await, "1");
        drop(sender);
        server.until(|state| state.open.get() == 0).await;
        assert_eq!(send(&cluster).await.unwrap(), "2");
    });
}

#[test]
fn a_connection_that_was_asked_to_upgrade_is_closed() {
    on_worker(|| async {
        let server = Server::start(false).await;
        let fixture = Fixture::new(&static_cluster(), &[server.address]);
        let cluster = fixture.cluster();
        let host = cluster.pick(&PickContext::default()).unwrap();
        let mut sender = cluster.http(&host, &options()).await.unwrap();
        let mut asking = request();
        let websocket = http::HeaderValue::from_static("websocket");
        asking.headers_mut().insert("upgrade", websocket);
        let response = sender.send(asking).await.unwrap();
        assert_eq!(read(response).await, "1");
        sender.finish();
        drop(sender);
        server.until(|state| state.open.get() == 0).await;
        assert_eq!(send(&cluster).await.unwrap(), "2");
    });
}

#[test]
fn a_request_that_is_given_up_takes_its_connection_with_it() {
    on_worker(|| async {
        let server = Server::start(false).await;
        let fixture = Fixture::new(&static_cluster(), &[server.address]);
        let cluster = fixture.cluster();
        let _gate = server.hold();
        tokio::select! {
            _ = send(&cluster) => unreachable!("the server holds the response"),
            () = server.until(|state| state.waiting.get() == 1) => {}
        }
        server.until(|state| state.open.get() == 0).await;
        assert_eq!(cluster.cells().upstream_rq_active.get(), 0);
        server.state.gate.borrow_mut().take();
        assert_eq!(send(&cluster).await.unwrap(), "2");
    });
}

#[test]
fn a_removed_host_finishes_what_runs_and_gets_nothing_new() {
    on_worker(|| async {
        let (old, new) = (Server::start(false).await, Server::start(false).await);
        let fixture = Fixture::new(&static_cluster(), &[old.address]);
        let cluster = fixture.cluster();
        let gate = old.hold();
        let (running, ()) = tokio::join!(send(&cluster), async {
            old.until(|state| state.waiting.get() == 1).await;
            fixture.set_endpoints(&[new.address]);
            assert_eq!(send(&fixture.cluster()).await.unwrap(), "1");
            assert_eq!(new.state.accepted.get(), 1);
            gate.notify_one();
        });
        assert_eq!(running.unwrap(), "1");
        old.until(|state| state.open.get() == 0).await;
    });
}

#[test]
fn a_host_that_stays_keeps_its_connection() {
    on_worker(|| async {
        let (first, second) = (Server::start(false).await, Server::start(false).await);
        let fixture = Fixture::new(&static_cluster(), &[first.address]);
        send(&fixture.cluster()).await.unwrap();
        fixture.set_endpoints(&[first.address, second.address]);
        let cluster = fixture.cluster();
        for _ in 0..4 {
            send(&cluster).await.unwrap();
        }
        assert_eq!(
            (first.state.accepted.get(), second.state.accepted.get()),
            (1, 1)
        );
    });
}

#[test]
fn idle_connections_close_in_time_and_with_their_cluster() {
    on_worker(|| async {
        let server = Server::start(false).await;
        let fixture = Fixture::new(&static_cluster(), &[server.address]);
        send(&fixture.cluster()).await.unwrap();
        let hour = Duration::from_secs(3600);
        fixture.sweep(Instant::now() + hour - Duration::from_secs(60));
        assert_eq!(send(&fixture.cluster()).await.unwrap(), "1");
        fixture.sweep(Instant::now() + hour);
        server.until(|state| state.open.get() == 0).await;
        assert_eq!(fixture.cluster().cells().upstream_cx_idle_timeout.get(), 1);

        assert_eq!(send(&fixture.cluster()).await.unwrap(), "2");
        fixture.remove_cluster();
        fixture.sweep(Instant::now());
        server.until(|state| state.open.get() == 0).await;
        assert!(
            fixture
                .worker
                .upstreams
                .get(&fixture.worker, &fixture.worker.view(), test_util::ID)
                .is_none()
        );
    });
}

#[test]
fn tcp_connections_count_against_their_limit() {
    on_worker(|| async {
        let server = Server::start(false).await;
        let limits = Thresholds {
            max_connections: Some(1.into_value()),
            ..Default::default()
        };
        let fixture = Fixture::new(&limited(limits), &[server.address]);
        let cluster = fixture.cluster();
        let host = cluster.pick(&PickContext::default()).unwrap();
        let options = TcpConnectOptions::default();
        let held = cluster.tcp(&host, &options).await.unwrap();
        assert_eq!(held.facts.info.remote, server.address);
        let refused = cluster.tcp(&host, &options).await.unwrap_err();
        assert_eq!(refused.overflow(), Some(Resource::Connections));
        drop(held);
        assert!(cluster.tcp(&host, &options).await.is_ok());
    });
}
