//! TLS on both sides: identities, SNI, rotation.

use std::net::SocketAddr;

use proxy::config::secret::SecretRef;
use proxy::tls::secret::Secret;
use proxy::tls::secret_store::SecretStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::harness::{Proxy, bootstrap, cluster, echo, exchange, listener, tcp_proxy};
use super::pki::{Authority, Leaf};

const REVIEWS: &str = "spiffe://cluster.local/ns/default/sa/reviews";
const SDS: &str = "sds_config: { api_config_source: { api_type: GRPC, transport_api_version: V3, \
    grpc_services: [{ envoy_grpc: { cluster_name: sds-grpc } }] } }";

fn agent(name: &str) -> SecretRef {
    SecretRef {
        name: name.into(),
        from_agent: true,
    }
}

fn set(secrets: &SecretStore, leaf: &Leaf, root: &str) {
    let certificate = Secret::certificate_from_pem(leaf.chain.as_bytes(), leaf.key.as_bytes());
    secrets.set(agent("default"), certificate.unwrap(), "1".into());
    let roots = Secret::roots_from_pem(root.as_bytes()).unwrap();
    secrets.set(agent("ROOTCA"), roots, "1".into());
}

fn common(san: Option<&str>) -> String {
    let matcher = san.map_or_else(String::new, |san| {
        format!(
            "match_typed_subject_alt_names: [{{ san_type: URI, matcher: {{ exact: \"{san}\" }} }}]"
        )
    });
    format!(
        "common_tls_context: {{ alpn_protocols: [istio], \
           tls_certificate_sds_secret_configs: [{{ name: default, {SDS} }}], \
           combined_validation_context: {{ default_validation_context: {{ {matcher} }}, \
             validation_context_sds_secret_config: {{ name: ROOTCA, {SDS} }} }} }}"
    )
}

fn downstream_tls() -> String {
    format!(
        "transport_socket: {{ name: tls, typed_config: {{ \"@type\": \
           type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, \
           require_client_certificate: true, {} }} }},",
        common(None)
    )
}

fn upstream_tls(sni: &str, san: &str) -> String {
    format!(
        "transport_socket: {{ name: tls, typed_config: {{ \"@type\": \
           type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, \
           sni: {sni}, {} }} }},",
        common(Some(san))
    )
}

/// A proxy that terminates mutual TLS before `upstream`.
async fn server(upstream: SocketAddr, secrets: SecretStore) -> Proxy {
    let chain = format!(
        "{{ {} filters: [{}] }}",
        downstream_tls(),
        tcp_proxy("up", "")
    );
    let text = bootstrap(
        &[listener("tls", "", &[chain])],
        &[cluster("up", upstream, "")],
    );
    Proxy::start_with(&text, secrets).await
}

/// A proxy that originates mutual TLS towards `server`, expecting an identity there.
async fn client(server: SocketAddr, san: &str, secrets: SecretStore) -> Proxy {
    let chain = format!("{{ filters: [{}] }}", tcp_proxy("tls", ""));
    let tls = upstream_tls("outbound_.9080_._.reviews.default.svc.cluster.local", san);
    let text = bootstrap(
        &[listener("plain", "", &[chain])],
        &[cluster("tls", server, &tls)],
    );
    Proxy::start_with(&text, secrets).await
}

fn workload(authority: &Authority) -> SecretStore {
    let secrets = SecretStore::new();
    set(&secrets, &authority.workload(REVIEWS), &authority.root);
    secrets
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workloads_of_one_mesh_talk() {
    let mesh = Authority::new("mesh");
    let server = server(echo("secret ").await, workload(&mesh)).await;
    let client = client(server.address("tls"), REVIEWS, workload(&mesh)).await;
    let bytes = vec![7; 1_000_003];
    let answer = exchange(client.connect("plain").await, &bytes)
        .await
        .unwrap();
    assert!(answer == [&b"secret "[..], &bytes].concat(), "bytes differ");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unexpected_identity_is_refused_by_the_client() {
    let mesh = Authority::new("mesh");
    let server = server(echo("secret ").await, workload(&mesh)).await;
    let other = "spiffe://cluster.local/ns/default/sa/ratings";
    let client = client(server.address("tls"), other, workload(&mesh)).await;
    let answer = exchange(client.connect("plain").await, b"x").await;
    assert_eq!(answer.unwrap_or_default(), b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_refused_by_the_server() {
    let (mesh, strangers) = (Authority::new("mesh"), Authority::new("strangers"));
    let server = server(echo("secret ").await, workload(&mesh)).await;
    // The stranger trusts the mesh, but is not of it.
    let stranger = SecretStore::new();
    set(&stranger, &strangers.workload(REVIEWS), &mesh.root);
    let client = client(server.address("tls"), REVIEWS, stranger).await;
    let answer = exchange(client.connect("plain").await, b"x").await;
    assert_eq!(answer.unwrap_or_default(), b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_secrets_a_context_refuses() {
    let mesh = Authority::new("mesh");
    let secrets = workload(&mesh);
    let server = server(echo("secret ").await, secrets.clone()).await;
    let client = client(server.address("tls"), REVIEWS, workload(&mesh)).await;
    secrets.remove(&agent("ROOTCA"));
    let answer = exchange(client.connect("plain").await, b"x").await;
    assert_eq!(answer.unwrap_or_default(), b"");
    let wanted: Vec<SecretRef> = server.secrets.wanted();
    assert_eq!(wanted, [agent("ROOTCA"), agent("default")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rotation_changes_new_connections_and_keeps_old_ones() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let (ours, theirs) = (workload(&old), workload(&old));
    let server = server(echo("").await, theirs.clone()).await;
    let client = client(server.address("tls"), REVIEWS, ours.clone()).await;
    let mut running = client.connect("plain").await;
    let mut echo = [0; 3];
    running.write_all(b"one").await.unwrap();
    running.read_exact(&mut echo).await.unwrap();

    set(&theirs, &new.workload(REVIEWS), &new.root);
    let refused = exchange(client.connect("plain").await, b"x").await;
    assert_eq!(
        refused.unwrap_or_default(),
        b"",
        "the client still trusts the old root only"
    );
    set(&ours, &new.workload(REVIEWS), &new.root);
    let answer = exchange(client.connect("plain").await, b"two")
        .await
        .unwrap();
    assert_eq!(answer, b"two");

    running.write_all(b"end").await.unwrap();
    running.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"end");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_that_ends_elsewhere_is_routed_by_its_server_name() {
    let authority = Authority::new("public");
    let hosts = ["a.example.com", "b.example.com"].map(|name| authority.host(name));
    let inspector = "listener_filters: [{ name: tls, typed_config: { \"@type\": \
        type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector } }],";
    let chains = ["a.example.com", "*.example.com"].map(|name| {
        format!(
            "{{ filter_chain_match: {{ server_names: [\"{name}\"] }}, filters: [{}] }}",
            tcp_proxy(if name.starts_with('a') { "a" } else { "b" }, "")
        )
    });
    let (a, b) = (
        tls_echo("a", &hosts[0]).await,
        tls_echo("b", &hosts[1]).await,
    );
    let proxy = Proxy::start(&bootstrap(
        &[listener("sni", inspector, &chains)],
        &[cluster("a", a, ""), cluster("b", b, "")],
    ))
    .await;
    for (name, expected) in [("a.example.com", "a"), ("b.example.com", "b")] {
        let stream = proxy.connect("sni").await;
        assert_eq!(
            greeting(stream, name, &authority.root).await.unwrap(),
            expected
        );
    }
    let stream = proxy.connect("sni").await;
    assert!(
        greeting(stream, "other.org", &authority.root)
            .await
            .is_err()
    );
}

/// A TLS server that says its name.
async fn tls_echo(name: &'static str, leaf: &Leaf) -> SocketAddr {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = CertificateDer::pem_slice_iter(leaf.chain.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.flatten().collect(), key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(socket).await {
                let _ = stream.write_all(name.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        }
    });
    address
}

async fn greeting(
    stream: tokio::net::TcpStream,
    name: &str,
    root: &str,
) -> std::io::Result<String> {
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    let root = rustls::pki_types::CertificateDer::from_pem_slice(root.as_bytes()).unwrap();
    roots.add(root).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let name = name.to_owned().try_into().unwrap();
    let mut stream = connector.connect(name, stream).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}
