//! Starting a proxy and its upstreams.

use std::net::SocketAddr;
use std::time::Duration;

use mesh_runtime::log::LogHandle;
use mesh_runtime::readiness::Readiness;
use proxy::app::data_plane::{DataPlane, Options};
use proxy::http::filter::registry::Registry as Filters;
use proxy::tls::secret_store::SecretStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Longer than anything takes that works.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A running proxy.
pub(crate) struct Proxy {
    pub(crate) data_plane: DataPlane,
    pub(crate) secrets: SecretStore,
}

impl Proxy {
    /// Starts a proxy on a bootstrap in YAML and waits until it serves.
    pub(crate) async fn start(bootstrap: &str) -> Self {
        Self::start_with(bootstrap, SecretStore::new()).await
    }

    /// The same over a store that may have secrets already.
    pub(crate) async fn start_with(bootstrap: &str, secrets: SecretStore) -> Self {
        Self::start_filtered(bootstrap, secrets, Filters::default()).await
    }

    /// The same with HTTP filters that are not built in.
    pub(crate) async fn start_filtered(
        bootstrap: &str,
        secrets: SecretStore,
        filters: Filters,
    ) -> Self {
        let options = Options {
            workers: 2,
            drain_time: Duration::from_secs(1),
            log: LogHandle::detached(),
            registry: std::sync::Arc::default(),
            readiness: Readiness::new(),
            secrets: secrets.clone(),
            stream_metadata: None,
            required_listener: None,
            filters,
            quit: CancellationToken::new(),
        };
        let bootstrap = proxy::bootstrap::parse(bootstrap).unwrap();
        let data_plane = DataPlane::start(bootstrap, options).await.unwrap();
        tokio::time::timeout(LIMIT, data_plane.readiness.wait())
            .await
            .expect("the proxy becomes ready");
        Self {
            data_plane,
            secrets,
        }
    }

    /// Where a listener with port 0 ended up.
    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        self.data_plane.in_force.listeners.load()[listener].address
    }

    /// A connection to a listener.
    pub(crate) async fn connect(&self, listener: &str) -> TcpStream {
        TcpStream::connect(self.address(listener)).await.unwrap()
    }
}

/// An upstream that sends its name and then everything back.
pub(crate) async fn echo(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = socket.split();
                if write.write_all(name.as_bytes()).await.is_ok() {
                    // The client may go at any time.
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                    let _ = write.shutdown().await;
                }
            });
        }
    });
    address
}

/// Sends, ends, and returns everything that comes back.
pub(crate) async fn exchange(mut stream: TcpStream, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let (mut read, mut write) = stream.split();
    let mut answer = Vec::new();
    let both = async {
        let sending = async {
            write.write_all(bytes).await?;
            write.shutdown().await
        };
        tokio::try_join!(sending, async { read.read_to_end(&mut answer).await })
    };
    tokio::time::timeout(LIMIT, both)
        .await
        .expect("an answer")?;
    Ok(answer)
}

/// A STATIC cluster with one endpoint; `more` are further fields in flow style, each ended by a comma.
pub(crate) fn cluster(name: &str, address: SocketAddr, more: &str) -> String {
    format!(
        "{{ {more} name: {name}, type: STATIC, connect_timeout: 5s, load_assignment: {{ \
           cluster_name: {name}, endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ \
           socket_address: {{ address: {}, port_value: {} }} }} }} }}] }}] }} }}",
        address.ip(),
        address.port(),
    )
}

/// A TCP proxy filter; `more` as above.
pub(crate) fn tcp_proxy(cluster: &str, more: &str) -> String {
    format!(
        "{{ name: tcp, typed_config: {{ \
           \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, \
           {more} stat_prefix: tcp, cluster: {cluster} }} }}"
    )
}

/// A listener on a port of the kernel's choice; `more` as above.
pub(crate) fn listener(name: &str, more: &str, chains: &[String]) -> String {
    format!(
        "{{ {more} name: {name}, filter_chains: [{}], \
           address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }} }}",
        chains.join(", ")
    )
}

/// A bootstrap of these resources.
pub(crate) fn bootstrap(listeners: &[String], clusters: &[String]) -> String {
    format!(
        "static_resources: {{ listeners: [{}], clusters: [{}] }}",
        listeners.join(", "),
        clusters.join(", ")
    )
}
