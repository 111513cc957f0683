//! A node: an agent with an API server that knows one pod, and pods that are network namespaces.

use std::fs::File;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cni::metrics::Metrics;
use cni::repair::{Action, Filter, Repair};
use cni::server::Server;
use cni::setup::Setup;
use cni_plugin::error::Error;
use cni_plugin::invocation::Invocation;
use kube::Client;
use mesh_runtime::{drain, metrics::Registry};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;
use tempfile::TempDir;

use crate::api;

/// Set in the copy of the test that runs inside the namespace.
const INSIDE: &str = "WEFT_EFFECT_INSIDE";

/// What the plugins before made.
pub(crate) const PREVIOUS: &str = r#"{"cniVersion":"1.0.0","ips":[{"address":"10.9.0.2/24"}]}"#;

/// The proxy's port for outbound connections.
const OUTBOUND: u16 = 15001;

/// Of an address that is somewhere else.
const ELSEWHERE: &str = "203.0.113.7";

pub(crate) struct Node {
    dir: TempDir,
    client: Option<Client>,
}

impl Node {
    /// `None` in the outer process, after the copy inside has passed.
    pub(crate) fn enter(test: &str) -> Option<Self> {
        if std::env::var_os(INSIDE).is_some() {
            let dir = TempDir::new().unwrap();
            std::fs::create_dir(dir.path().join("netns")).unwrap();
            return Some(Self { dir, client: None });
        }
        let flags: &[&str] = match rustix::process::getuid().is_root() {
            true => &["--net", "--mount"],
            // The proxy's user must exist in there.
            false => &["--net", "--mount", "--map-root-user", "--map-auto"],
        };
        let status = Command::new("unshare")
            .args(flags)
            .arg(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture"])
            .env(INSIDE, "yes")
            .status()
            .expect("unshare is installed");
        assert!(status.success(), "inside the namespace: {status}");
        None
    }

    /// Runs `test` with an agent whose API server knows `pod` alone.
    pub(crate) fn run(mut self, pod: Option<Value>, test: impl AsyncFnOnce(&Self)) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (client, _changes) = api::serve(move |seen| api::pods(pod.as_ref(), seen));
            self.client = Some(client.clone());
            let (_signal, drain) = drain::channel();
            let server = Server::bind(&self.socket()).unwrap();
            let agent = tokio::spawn(server.run(Setup::new(client, Metrics::default()), drain));
            test(&self).await;
            agent.abort();
        });
    }

    /// Calls the plugin as the runtime does, with an agent there.
    pub(crate) async fn add(&self, namespace: &str, pod: &PodNetwork) -> Result<String, Error> {
        tokio::task::block_in_place(|| self.call(namespace, pod))
    }

    /// Calls the plugin as the runtime does.
    pub(crate) fn call(&self, namespace: &str, pod: &PodNetwork) -> Result<String, Error> {
        let args = format!("K8S_POD_NAMESPACE={namespace};K8S_POD_NAME=app;K8S_POD_UID=u-1");
        let invocation = Invocation::from_env(|name| match name {
            "CNI_COMMAND" => Some("ADD".to_owned()),
            "CNI_NETNS" => Some(pod.path().display().to_string()),
            "CNI_ARGS" => Some(args.clone()),
            _ => None,
        })?;
        let configuration = format!(
            r#"{{"cniVersion":"1.0.0","name":"pods","socket":{:?},"excludeNamespaces":["kube-system"],
                "agentNamespace":"istio-system","prevResult":{PREVIOUS}}}"#,
            self.socket()
        );
        cni_plugin::run(&invocation, &configuration)
    }

    /// Watches pods until one was repaired.
    pub(crate) async fn repair(&self) {
        let metrics = Metrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let filter = Filter {
            init_container: "istio-validation".to_owned(),
            exit_code: 126,
        };
        let action = Action::Repair {
            namespaces: self.netns_dir(),
        };
        let client = self.client.clone().unwrap();
        let repair = Repair::new(client, "node".to_owned(), filter, action, metrics);
        let (signal, drain) = drain::channel();
        let running = tokio::spawn(repair.run(drain));
        let done = "istio_cni_repair_pods_repaired_total{type=\"repair\",result=\"SUCCESS\"} 1";
        let repaired = async {
            while !mesh_runtime::metrics::encode(&registry).contains(done) {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), repaired).await;
        assert!(
            waited.is_ok(),
            "{}",
            mesh_runtime::metrics::encode(&registry)
        );
        signal.start();
        running.await.unwrap().unwrap();
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("agent.sock")
    }

    fn netns_dir(&self) -> PathBuf {
        self.dir.path().join("netns")
    }
}

/// A pod's network namespace with an interface that leads elsewhere and nobody there.
pub(crate) struct PodNetwork {
    holder: Child,
}

impl PodNetwork {
    pub(crate) fn new() -> Self {
        Self::with_address("10.9.0.2")
    }

    /// One that the runtime has put into its directory.
    pub(crate) fn named(node: &Node, address: &str) -> Self {
        let network = Self::with_address(address);
        let file = node.netns_dir().join(format!("cni-{address}"));
        File::create(&file).unwrap();
        let mounted = Command::new("mount")
            .arg("--bind")
            .args([network.path(), file])
            .status()
            .expect("mount is installed");
        assert!(mounted.success());
        network
    }

    fn with_address(address: &str) -> Self {
        let script = format!(
            "ip link set lo up; ip link add eth0 type veth peer name nobody; ip link set nobody up
             ip addr add {address}/24 dev eth0; ip link set eth0 up; ip route add default via 10.9.0.1; echo ready; exec cat"
        );
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-ec", &script])
            .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare is installed");
        let mut ready = [0];
        let stdout = holder.stdout.as_mut().unwrap();
        stdout.read_exact(&mut ready).expect("the namespace exists");
        Self { holder }
    }

    fn path(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.holder.id()).into()
    }

    /// Whether a connection of the application to `port` elsewhere arrives at the proxy.
    pub(crate) fn is_captured(&self, port: u16) -> bool {
        self.inside(move || {
            let _proxy = TcpListener::bind(("0.0.0.0", OUTBOUND)).unwrap();
            let to = SocketAddr::new(ELSEWHERE.parse().unwrap(), port);
            // Nobody answers what leaves the pod.
            TcpStream::connect_timeout(&to, Duration::from_millis(300)).is_ok()
        })
    }

    /// Whether the pod's own check finds rules.
    pub(crate) fn validates(&self) -> bool {
        self.inside(|| redirect::validate(15006).is_ok())
    }

    fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let namespace = File::open(self.path()).expect("the holder runs");
        let run = move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        };
        std::thread::spawn(run).join().expect("work does not panic")
    }
}

impl Drop for PodNetwork {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
