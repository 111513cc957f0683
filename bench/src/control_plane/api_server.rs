//! etcd and kube-apiserver: the real ones, as processes, without the rest of Kubernetes.
//!
//! They fill the mesh on both cores and are bound to the load's core before anything is measured.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::{
    contender::{Contender, Place},
    process,
    scenarios::free_address,
};

/// Both have one core, and other work may be on the machine.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// The one who asks; static, since the server lives as long as the measurement.
pub(super) const TOKEN: &str = "bench";

/// A running API server.
#[derive(Debug)]
pub(super) struct ApiServer {
    /// Where it listens: `127.0.0.1:PORT`.
    pub(super) address: std::net::SocketAddr,
    /// The authority of its certificate.
    pub(super) root: PathBuf,
    /// How `meshd` reaches it.
    pub(super) kubeconfig: PathBuf,
    // Ended in this order: without etcd, the API server would wait for it.
    server: Contender,
    etcd: Contender,
}

impl ApiServer {
    /// Starts both and waits until they listen.
    pub(super) fn start(bin: &Path, dir: &Path) -> anyhow::Result<Self> {
        let path = |name: &str| dir.join(name).display().to_string();
        make_keys(dir)?;
        let (clients, peers) = (free_address()?, free_address()?);
        let mut etcd = Command::new(bin.join("etcd"));
        etcd.args(["--data-dir", &path("etcd"), "--log-level", "error"])
            // The disk is not what is measured.
            .arg("--unsafe-no-fsync")
            .args(["--quota-backend-bytes", "8000000000"])
            .arg(format!("--listen-client-urls=http://{clients}"))
            .arg(format!("--advertise-client-urls=http://{clients}"))
            .arg(format!("--listen-peer-urls=http://{peers}"))
            .arg(format!("--initial-advertise-peer-urls=http://{peers}"))
            .arg(format!("--initial-cluster=default=http://{peers}"));
        let etcd = Contender::of(etcd, &dir.join("etcd.log"), clients, Place::Anywhere)?;

        let address = free_address()?;
        let mut server = Command::new(bin.join("kube-apiserver"));
        server
            .arg(format!("--etcd-servers=http://{clients}"))
            .arg(format!("--secure-port={}", address.port()))
            .args(["--bind-address", "127.0.0.1"])
            // Never used; without it the server looks for an address that the namespace does not have.
            .args(["--advertise-address", "192.0.2.1"])
            .args(["--endpoint-reconciler-type", "none"])
            .args(["--service-cluster-ip-range", "10.96.0.0/12"])
            .args(["--tls-cert-file", &path("server-cert.pem")])
            .args(["--tls-private-key-file", &path("server-key.pem")])
            .args(["--service-account-issuer", "https://bench"])
            .args(["--service-account-key-file", &path("accounts-public.pem")])
            .args([
                "--service-account-signing-key-file",
                &path("accounts-key.pem"),
            ])
            .args(["--token-auth-file", &path("tokens.csv")])
            .args(["--authorization-mode", "AlwaysAllow"])
            // No controller makes the service accounts that it would ask for.
            .args(["--disable-admission-plugins", "ServiceAccount"])
            .arg("--enable-priority-and-fairness=false")
            .args(["--max-requests-inflight", "0"])
            .args(["--max-mutating-requests-inflight", "0"]);
        let server = Contender::within(
            READY_TIMEOUT,
            server,
            &dir.join("kube-apiserver.log"),
            address,
            Place::Anywhere,
        )?;
        let kubeconfig = dir.join("kubeconfig");
        fs::write(&kubeconfig, kubeconfig_of(address, &path("root.pem")))?;
        Ok(Self {
            address,
            root: dir.join("root.pem"),
            kubeconfig,
            server,
            etcd,
        })
    }

    /// Leaves the control plane's core to the control plane.
    pub(super) fn make_room(&self) -> anyhow::Result<()> {
        for pid in self.server.pids().chain(self.etcd.pids()) {
            process::pin_all(pid, process::LOAD_CORE)?;
        }
        Ok(())
    }
}

/// The server's certificate, the key of service accounts, and the token of the one who asks.
fn make_keys(dir: &Path) -> anyhow::Result<()> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().context("cannot make a key")?;
    fs::write(dir.join("root.pem"), params.self_signed(&key)?.pem())?;
    let issuer = Issuer::new(params, key);
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    fs::write(dir.join("server-cert.pem"), certificate.pem())?;
    fs::write(dir.join("server-key.pem"), key.serialize_pem())?;
    let accounts = KeyPair::generate()?;
    fs::write(dir.join("accounts-key.pem"), accounts.serialize_pem())?;
    fs::write(dir.join("accounts-public.pem"), accounts.public_key_pem())?;
    fs::write(
        dir.join("tokens.csv"),
        format!("{TOKEN},bench,bench,system:masters\n"),
    )?;
    Ok(())
}

fn kubeconfig_of(address: std::net::SocketAddr, root: &str) -> String {
    serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bench", "cluster": {"server": format!("https://{address}"), "certificate-authority": root}}],
        "users": [{"name": "bench", "user": {"token": TOKEN}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        "current-context": "bench",
    })
    .to_string()
}
