//! The proxy under test: a process of its own, with routes to all lanes.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::lane::{LIMIT, Lane};
use super::origin::Server;
use super::script::{Route, Upstream};

/// Where the proxy listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    /// HTTP/1 and HTTP/2.
    pub(crate) auto: u16,
    /// HTTP/1 alone.
    pub(crate) http1: u16,
}

/// How often a proxy is started that ends at once.
const ATTEMPTS: usize = 5;

/// A proxy that runs; dropping it ends the process.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) ports: Ports,
    process: Child,
    _directory: tempfile::TempDir,
}

impl Contender {
    /// Starts the proxy and waits until it listens. It has one worker, so that all clients of a lane share its
    /// connections to the origin.
    ///
    /// Its ports were free a moment before; a connection of another test may take one meanwhile, so it is tried again.
    pub(crate) async fn start(lanes: &[Lane]) -> Self {
        for _ in 0..ATTEMPTS {
            if let Some(contender) = Self::try_start(lanes).await {
                return contender;
            }
        }
        panic!("the proxy ended {ATTEMPTS} times instead of listening");
    }

    async fn try_start(lanes: &[Lane]) -> Option<Self> {
        let held = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let [admin, auto, http1] =
            held.map(|listener| listener.local_addr().expect("a bound address").port());
        let ports = Ports { auto, http1 };
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("bootstrap.yaml");
        std::fs::write(&file, bootstrap(admin, ports, lanes)).expect("the bootstrap is written");
        let envoy = std::env::var("WEFT_FRAMING_PROXY");
        let (program, arguments) = match &envoy {
            Ok(envoy) => (
                envoy.as_str(),
                &[
                    "--disable-hot-restart",
                    "--log-level",
                    "off",
                    "--concurrency",
                    "1",
                ][..],
            ),
            Err(_) => (
                env!("CARGO_BIN_EXE_weft-proxy"),
                &["run", "--concurrency", "1"][..],
            ),
        };
        let process = Command::new(program)
            .args(arguments)
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        let mut contender = Self {
            ports,
            process,
            _directory: directory,
        };
        let listens = tokio::time::timeout(LIMIT, contender.listens(admin));
        let listens = listens.await.expect("the proxy becomes ready or ends");
        listens.then_some(contender)
    }

    /// Waits until the proxy listens; false if it ends instead.
    async fn listens(&mut self, admin: u16) -> bool {
        while !is_ready(admin).await {
            let ended = self
                .process
                .try_wait()
                .expect("the process can be waited for");
            if ended.is_some() {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        true
    }

    /// Fails if the process is gone.
    pub(crate) fn assert_running(&mut self) {
        let ended = self
            .process
            .try_wait()
            .expect("the process can be waited for");
        assert_eq!(ended, None, "the proxy ended");
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn is_ready(admin: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", admin)).await else {
        return false;
    };
    let request = b"GET /ready HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n";
    let mut answer = Vec::new();
    stream.write_all(request).await.is_ok()
        && stream.read_to_end(&mut answer).await.is_ok()
        && answer.starts_with(b"HTTP/1.1 200")
}

fn bootstrap(admin: u16, ports: Ports, lanes: &[Lane]) -> String {
    let listeners = [
        listener("auto", ports.auto, "AUTO", true, lanes),
        listener("http1", ports.http1, "HTTP1", false, lanes),
    ];
    let clusters: Vec<String> = lanes.iter().flat_map(clusters).collect();
    format!(
        "admin: {{ address: {} }}\nstatic_resources:\n  listeners:\n{}  clusters:\n{}",
        socket(admin),
        listeners.concat(),
        clusters.concat()
    )
}

fn listener(name: &str, port: u16, codec: &str, trailers: bool, lanes: &[Lane]) -> String {
    const FILTERS: &str = "type.googleapis.com/envoy.extensions.filters";
    let hosts: Vec<String> = lanes
        .iter()
        .flat_map(|lane| virtual_hosts(lane.number))
        .collect();
    format!(
        "  - name: {name}
    address: {address}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": {FILTERS}.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          codec_type: {codec}
          http_protocol_options: {{ enable_trailers: {trailers} }}
          stream_idle_timeout: 0s
          upgrade_configs: [{{ upgrade_type: websocket }}]
          http2_protocol_options: {{ allow_connect: true }}
          http_filters:
          - name: envoy.filters.http.rbac
            typed_config:
              \"@type\": {FILTERS}.http.rbac.v3.RBAC
              rules: {{ action: DENY, policies: {{ admin: {{ permissions: [{{ url_path: {{ path: {{ prefix: /admin }} }} }}], principals: [{{ any: true }}] }} }} }}
          - name: envoy.filters.http.router
            typed_config: {{ \"@type\": {FILTERS}.http.router.v3.Router }}
          route_config:
            name: {name}
            virtual_hosts:
{hosts}",
        address = socket(port),
        hosts = hosts.concat(),
    )
}

fn virtual_hosts(lane: usize) -> [String; 2] {
    [Upstream::Http1, Upstream::Http2].map(|upstream| {
        let host = Lane::host(lane, upstream);
        let cluster = match upstream {
            Upstream::Http1 => format!("http1-{lane}"),
            Upstream::Http2 => format!("http2-{lane}"),
        };
        let routes = Route::ALL.map(|route| {
            let action = action(route, &cluster, lane);
            let segment = route.segment();
            format!("              - {{ match: {{ prefix: /{segment}/ }}, {action} }}\n")
        });
        format!(
            "            - name: {host}\n              domains: [{host}]\n              routes:\n{}",
            routes.concat()
        )
    })
}

fn action(route: Route, cluster: &str, lane: usize) -> String {
    let base = format!("cluster: {cluster}, timeout: 0s");
    let retry = "retry_policy: { retry_on: \"5xx,reset,connect-failure\", num_retries: 2, \
                 retry_back_off: { base_interval: 0.001s, max_interval: 0.002s } }";
    let mirror = format!("request_mirror_policies: [{{ cluster: shadow-{lane} }}]");
    let forward = match route {
        Route::Plain | Route::Admin => base,
        Route::Retry => format!("{base}, {retry}"),
        Route::Mirror => format!("{base}, {mirror}"),
        Route::RetryMirror => format!("{base}, {retry}, {mirror}"),
        Route::Timeout => format!(
            "cluster: {cluster}, timeout: 1s, retry_policy: {{ retry_on: 5xx, num_retries: 1, \
             per_try_timeout: 0.1s, retry_back_off: {{ base_interval: 0.001s, max_interval: 0.002s }} }}"
        ),
        Route::NoUpgrade => {
            format!("{base}, upgrade_configs: [{{ upgrade_type: websocket, enabled: false }}]")
        }
        Route::Direct => {
            return "direct_response: { status: 200, body: { inline_string: direct } }".into();
        }
    };
    format!("route: {{ {forward} }}")
}

fn clusters(lane: &Lane) -> [String; 3] {
    const HTTP1: &str = "http_protocol_options: { enable_trailers: true }";
    const HTTP2: &str = "http2_protocol_options: {}";
    let number = lane.number;
    let port = |server| lane.origin.ports[&server];
    [
        cluster(&format!("http1-{number}"), port(Server::Http1), HTTP1),
        cluster(&format!("http2-{number}"), port(Server::Http2), HTTP2),
        cluster(&format!("shadow-{number}"), port(Server::Shadow), HTTP1),
    ]
}

fn cluster(name: &str, port: u16, options: &str) -> String {
    const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let address = socket(port);
    format!(
        "  - {{ name: {name}, connect_timeout: 5s, type: STATIC, load_assignment: {{ cluster_name: {name}, \
         endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {address} }} }}] }}] }}, \
         typed_extension_protocol_options: {{ {OPTIONS}: {{ \
         \"@type\": type.googleapis.com/{OPTIONS}, explicit_http_config: {{ {options} }} }} }} }}\n"
    )
}

fn socket(port: u16) -> String {
    format!("{{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}")
}
