//! What a request costs in allocations, counted over the whole process: client and upstream are threads that allocate
//! nothing. Filters that do not watch a body cost none.

#![allow(
    clippy::print_stdout,
    reason = "the counts are for whoever reads the log"
)]

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;

use proxy::http::filter::registry::{Factory, Registry};
use proxy::http::filter::{Filter, HeadContext, ResponseHead, Step, Watch};
use proxy::http::stream::RequestHead;
use proxy::tls::secret_store::SecretStore;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[path = "edge/harness.rs"]
#[allow(dead_code, reason = "what only tests/edge.rs uses")]
mod harness;

use harness::{Proxy, bootstrap, cluster, listener};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations of a request over HTTP/1 through a chain without filters.
const PLAIN: usize = 21;

const BATCH: usize = 100;

/// Looks at heads, and keeps nothing.
#[derive(Debug)]
struct Heads;

impl Filter for Heads {
    fn request_head(&self, _: &mut HeadContext<'_>, _: &mut RequestHead) -> Step<RequestHead> {
        Step::Continue
    }

    fn response_head(&self, _: &mut HeadContext<'_>, _: &mut ResponseHead) -> Step<ResponseHead> {
        Step::Continue
    }
}

/// Watches the body of the response.
#[derive(Debug)]
struct Bodies;

impl Filter for Bodies {
    fn response_head(
        &self,
        context: &mut HeadContext<'_>,
        _: &mut ResponseHead,
    ) -> Step<ResponseHead> {
        context.watch_body(Watch::Inspect);
        Step::Continue
    }
}

fn typed(kind: &str) -> String {
    format!(
        "{{ name: {kind}, typed_config: {{ \
           \"@type\": type.googleapis.com/envoy.extensions.filters.http.{kind} }} }}"
    )
}

fn inside(kind: &str) -> String {
    format!(
        "{{ name: {kind}, typed_config: {{ \"@type\": type.googleapis.com/xds.type.v3.TypedStruct, \
           type_url: type.googleapis.com/{kind}, value: {{}} }} }}"
    )
}

/// The filters of a sidecar.
fn sidecar() -> Vec<String> {
    vec![
        inside("io.istio.http.peer_metadata.Config"),
        typed("rbac.v3.RBAC"),
        typed("fault.v3.HTTPFault"),
        typed("cors.v3.Cors"),
        typed("grpc_stats.v3.FilterConfig"),
        inside("stats.PluginConfig"),
    ]
}

#[test]
fn filters_without_bodies_allocate_nothing() {
    let plain = per_request(&[]);
    let sidecar = per_request(&sidecar());
    let heads = per_request(&vec![inside("test.Heads"); 10]);
    let bodies = per_request(&[inside("test.Bodies")]);
    println!("allocations: plain {plain}, sidecar {sidecar}, heads {heads}, bodies {bodies}");
    assert_eq!((plain, sidecar, heads), (PLAIN, PLAIN, PLAIN));
    assert!(bodies > PLAIN, "the count counts");
}

/// Allocations of a request on a connection that serves many: the least of several batches, because the worker's
/// upkeep comes by once a second.
fn per_request(filters: &[String]) -> usize {
    let upstream = respond_forever();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let proxy = runtime.block_on(start(filters, upstream));
    let mut client = TcpStream::connect(proxy.address("in")).unwrap();
    client.set_nodelay(true).unwrap();
    for _ in 0..BATCH {
        ask(&mut client);
    }
    let counts = (0..10).map(|_| {
        let region = Region::new(ALLOCATOR);
        for _ in 0..BATCH {
            ask(&mut client);
        }
        let change = region.change();
        change.allocations + change.reallocations
    });
    let least = counts.min().unwrap();
    drop(client);
    runtime.block_on(proxy.data_plane.stop());
    least / BATCH
}

async fn start(filters: &[String], upstream: SocketAddr) -> Proxy {
    let factory = |filter: fn() -> Rc<dyn Filter>| -> Factory { Arc::new(move |_| filter()) };
    let registry = Registry::with([
        ("test.Heads".into(), factory(|| Rc::new(Heads))),
        ("test.Bodies".into(), factory(|| Rc::new(Bodies))),
    ]);
    let mut filters = filters.to_vec();
    filters.push(typed("router.v3.Router"));
    let manager = format!(
        "{{ filters: [{{ name: http, typed_config: {{ \
           \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, \
           stat_prefix: http, http_filters: [{}], \
           route_config: {{ name: r, virtual_hosts: [{{ name: v, domains: [\"*\"], routes: [{{ \
             match: {{ prefix: / }}, route: {{ cluster: up }} }}] }}] }} }} }}] }}",
        filters.join(", ")
    );
    let bootstrap = bootstrap(
        &[listener("in", "", &[manager])],
        &[cluster("up", upstream, "")],
    );
    Proxy::start_filtered(&bootstrap, SecretStore::new(), registry).await
}

fn ask(client: &mut TcpStream) {
    let request = b"GET /path HTTP/1.1\r\nhost: a\r\nuser-agent: test\r\naccept: */*\r\n\r\n";
    client.write_all(request).unwrap();
    read_until(client, b"body");
}

/// An upstream in a thread of its own, for one connection after the other.
fn respond_forever() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            stream.set_nodelay(true).unwrap();
            let response = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody";
            while read_until(&mut stream, b"\r\n\r\n") && stream.write_all(response).is_ok() {}
        }
    });
    address
}

/// Reads until what was read ends so; false if the connection ended.
fn read_until(stream: &mut TcpStream, end: &[u8]) -> bool {
    let (mut buffer, mut length) = ([0; 4096], 0);
    while !buffer[..length].ends_with(end) {
        match stream.read(&mut buffer[length..]) {
            Ok(0) | Err(_) => return false,
            Ok(read) => length += read,
        }
    }
    true
}
