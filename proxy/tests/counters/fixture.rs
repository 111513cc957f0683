//! The proxy of `bootstrap.yaml` with what stands around it.

use std::net::SocketAddr;

use proxy::telemetry::prometheus;
use tokio::net::{TcpListener, TcpStream};

use super::client::request;
use super::origin;
use super::seen::Seen;
use crate::control_plane::{ADS, ControlPlane};
use crate::harness::{LIMIT, Proxy, echo};
use crate::pki::{Authority, Leaf};

/// A running proxy and the metrics that it has shown.
pub(crate) struct Fixture {
    pub(crate) proxy: Proxy,
    /// The authority whose clients the TLS listeners accept.
    pub(crate) mesh: Authority,
    pub(crate) seen: Seen,
    admin: SocketAddr,
    /// Accepts connections and says nothing.
    _silent: TcpListener,
    _control_plane: ControlPlane,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        let mesh = Authority::new("mesh");
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let control_plane = ControlPlane::start().await;
        let admin = unused().await;
        let addresses = [
            ("ORIGIN", origin::start().await),
            ("ECHO", echo("").await),
            ("SILENT", silent.local_addr().unwrap()),
            ("DEAD", unused().await),
        ];
        let mut text = bootstrap(&mesh.host("a"), &mesh.root);
        for (word, address) in addresses {
            text = text.replace(word, &socket_address(address));
        }
        let text = text
            .replace("ADMIN_PORT", &admin.port().to_string())
            .replace("- ADS", &format!("- {}", control_plane.cluster()))
            .replace("DYNAMIC", ADS);
        Self {
            proxy: Proxy::start(&text).await,
            mesh,
            seen: Seen::default(),
            admin,
            _silent: silent,
            _control_plane: control_plane,
        }
    }

    /// Takes in what the workers have counted.
    pub(crate) fn look(&mut self) {
        let registry = &self.proxy.data_plane.registry;
        self.seen.add(&prometheus::render(registry, &[]));
    }

    /// Looks until these series have a value.
    pub(crate) async fn until(&mut self, series: &[&str]) {
        let looking = async {
            loop {
                self.look();
                if series.iter().all(|name| self.seen.contains(name)) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        let found = tokio::time::timeout(LIMIT, looking).await;
        assert!(found.is_ok(), "one of {series:?} stays zero");
    }

    /// Takes in what the admin port shows, until these series have a value.
    pub(crate) async fn until_on_admin_port(&mut self, series: &[&str]) {
        let looking = async {
            while !series.iter().all(|name| self.seen.contains(name)) {
                let stream = TcpStream::connect(self.admin).await.unwrap();
                let (_, page) = request(stream, "/stats/prometheus", "localhost").await;
                self.seen.add(&page);
            }
        };
        let found = tokio::time::timeout(LIMIT, looking).await;
        assert!(found.is_ok(), "one of {series:?} stays zero");
    }
}

fn bootstrap(leaf: &Leaf, root: &str) -> String {
    let text = include_str!("bootstrap.yaml").replace("ROOT", &format!("{root:?}"));
    let text = text.replace("CHAIN", &format!("{:?}", leaf.chain));
    text.replace(": KEY", &format!(": {:?}", leaf.key))
}

/// An address where nothing listens.
async fn unused() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

fn socket_address(address: SocketAddr) -> String {
    format!(
        "{{ socket_address: {{ address: {}, port_value: {} }} }}",
        address.ip(),
        address.port()
    )
}
