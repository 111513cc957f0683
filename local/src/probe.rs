//! Probes: what kubelet would ask a container, asked from the router's side of the network.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::{
    api::core::v1::{Container, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
    time::{interval, sleep, timeout},
};

use crate::process::Launch;

/// Health changes waiting to be read; one container reports a handful at most.
const HEALTH_QUEUE: usize = 8;

/// What probes say about a running container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// The startup probe passed.
    Started,
    /// The readiness probe's verdict changed.
    Ready(bool),
    /// The liveness or startup probe failed for good.
    Dead,
}

/// All probes of a container.
#[derive(Debug, Clone)]
pub struct Probes {
    address: Ipv4Addr,
    startup: Option<Check>,
    readiness: Option<Check>,
    liveness: Option<Check>,
    /// Time between SIGTERM and SIGKILL after a failed liveness probe.
    pub grace: Duration,
}

/// One probe with its timing.
#[derive(Debug, Clone)]
struct Check {
    action: Action,
    initial_delay: Duration,
    period: Duration,
    timeout: Duration,
    failure_threshold: u32,
    success_threshold: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Http {
        port: u16,
        path: String,
        headers: Vec<(String, String)>,
    },
    Tcp {
        port: u16,
    },
    Grpc {
        port: u16,
        service: String,
    },
    Exec {
        argv: Vec<String>,
    },
}

impl Probes {
    /// The probes of `container` in the pod at `address`.
    pub fn new(container: &Container, address: Ipv4Addr, grace: Duration) -> Self {
        let check = |probe: &Option<Probe>| {
            probe
                .as_ref()
                .and_then(|probe| Check::new(probe, container))
        };
        Self {
            address,
            startup: check(&container.startup_probe),
            readiness: check(&container.readiness_probe),
            liveness: check(&container.liveness_probe),
            grace,
        }
    }

    /// Starts probing; ends when the result is dropped.
    pub fn start(&self, launch: &Launch) -> Watching {
        let (sender, receiver) = mpsc::channel(HEALTH_QUEUE);
        let mut tasks = JoinSet::new();
        tasks.spawn(self.clone().watch(launch.clone(), sender));
        Watching {
            receiver,
            _tasks: tasks,
        }
    }

    async fn watch(self, launch: Launch, health: mpsc::Sender<Health>) {
        if let Some(startup) = &self.startup
            && !startup.passes_in_time(self.address, &launch).await
        {
            let _ = health.send(Health::Dead).await;
            return;
        }
        let _ = health.send(Health::Started).await;
        let readiness = async {
            match &self.readiness {
                None => drop(health.send(Health::Ready(true)).await),
                Some(check) => {
                    check
                        .follow(self.address, &launch, |ready| {
                            health.send(Health::Ready(ready))
                        })
                        .await
                }
            }
        };
        let liveness = async {
            if let Some(check) = &self.liveness {
                check.fails(self.address, &launch).await;
                let _ = health.send(Health::Dead).await;
            }
        };
        tokio::join!(readiness, liveness);
        // The receiver tells an ended probe from a silent one by the channel staying open.
        health.closed().await;
    }
}

/// Running probes of one process.
pub struct Watching {
    receiver: mpsc::Receiver<Health>,
    _tasks: JoinSet<()>,
}

impl Watching {
    /// The next change.
    pub async fn next(&mut self) -> Health {
        match self.receiver.recv().await {
            Some(health) => health,
            None => std::future::pending().await,
        }
    }
}

impl Check {
    fn new(probe: &Probe, container: &Container) -> Option<Self> {
        let seconds = |value: Option<i32>, default: u64| {
            Duration::from_secs(
                value
                    .and_then(|value| u64::try_from(value).ok())
                    .unwrap_or(default),
            )
        };
        let count = |value: Option<i32>, default| {
            value
                .and_then(|value| u32::try_from(value).ok())
                .unwrap_or(default)
                .max(1)
        };
        Some(Self {
            action: Action::new(probe, container)?,
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10).max(Duration::from_secs(1)),
            timeout: seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1)),
            failure_threshold: count(probe.failure_threshold, 3),
            success_threshold: count(probe.success_threshold, 1),
        })
    }

    /// Until the first success, probes come faster than their period: a pod that is ready should not
    /// wait for a clock. Differs from kubelet, which keeps the period.
    fn eager_period(&self) -> Duration {
        self.period.min(Duration::from_millis(250))
    }

    async fn passes(&self, address: Ipv4Addr, launch: &Launch) -> bool {
        timeout(self.timeout, self.action.run(address, launch))
            .await
            .unwrap_or(false)
    }

    /// Whether it passes before its failures exceed what is allowed.
    async fn passes_in_time(&self, address: Ipv4Addr, launch: &Launch) -> bool {
        let allowed = self.initial_delay + self.period * self.failure_threshold + self.timeout;
        let attempts = async {
            while !self.passes(address, launch).await {
                sleep(self.eager_period()).await;
            }
        };
        timeout(allowed, attempts).await.is_ok()
    }

    async fn follow<F: Future>(
        &self,
        address: Ipv4Addr,
        launch: &Launch,
        changed: impl Fn(bool) -> F,
    ) {
        sleep(self.initial_delay.min(self.eager_period())).await;
        let (mut ready, mut streak) = (false, 0);
        loop {
            let passed = self.passes(address, launch).await;
            streak = if passed == ready { 0 } else { streak + 1 };
            let needed = if ready {
                self.failure_threshold
            } else {
                self.success_threshold
            };
            if streak >= needed {
                (ready, streak) = (passed, 0);
                changed(ready).await;
            }
            sleep(if ready {
                self.period
            } else {
                self.eager_period()
            })
            .await;
        }
    }

    /// Returns when it has failed often enough.
    async fn fails(&self, address: Ipv4Addr, launch: &Launch) {
        sleep(self.initial_delay).await;
        let mut ticks = interval(self.period);
        let mut failures = 0;
        while failures < self.failure_threshold {
            ticks.tick().await;
            failures = if self.passes(address, launch).await {
                0
            } else {
                failures + 1
            };
        }
    }
}

impl Action {
    fn new(probe: &Probe, container: &Container) -> Option<Self> {
        if let Some(http) = &probe.http_get {
            let headers = http
                .http_headers
                .iter()
                .flatten()
                .map(|header| (header.name.clone(), header.value.clone()));
            return Some(Self::Http {
                port: port(&http.port, container)?,
                path: http.path.clone().unwrap_or_else(|| "/".to_owned()),
                headers: headers.collect(),
            });
        }
        if let Some(tcp) = &probe.tcp_socket {
            return Some(Self::Tcp {
                port: port(&tcp.port, container)?,
            });
        }
        if let Some(grpc) = &probe.grpc {
            let port = u16::try_from(grpc.port).ok()?;
            return Some(Self::Grpc {
                port,
                service: grpc.service.clone().unwrap_or_default(),
            });
        }
        let argv = probe.exec.as_ref()?.command.clone()?;
        Some(Self::Exec { argv })
    }

    async fn run(&self, address: Ipv4Addr, launch: &Launch) -> bool {
        let at = |port| SocketAddrV4::new(address, port);
        match self {
            Self::Http {
                port,
                path,
                headers,
            } => http_get(at(*port), path, headers)
                .await
                .is_some_and(|status| (200..400).contains(&status)),
            Self::Tcp { port } => TcpStream::connect(at(*port)).await.is_ok(),
            Self::Grpc { port, service } => grpc_serving(at(*port), service).await == Some(true),
            Self::Exec { argv } => {
                let command = launch.with_argv(argv.clone()).logged_command();
                let child = command.and_then(|mut command| command.spawn());
                match child {
                    Ok(mut child) => child.wait().await.is_ok_and(|status| status.success()),
                    Err(_) => false,
                }
            }
        }
    }
}

fn port(port: &IntOrString, container: &Container) -> Option<u16> {
    match port {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(name) => {
            let named = container
                .ports
                .iter()
                .flatten()
                .find(|port| port.name.as_deref() == Some(name));
            named.and_then(|port| u16::try_from(port.container_port).ok())
        }
    }
}

async fn http_get(to: SocketAddrV4, path: &str, headers: &[(String, String)]) -> Option<u16> {
    let stream = TcpStream::connect(to).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .ok()?;
    let mut request = http::Request::get(path)
        .header("host", to.to_string())
        .header("user-agent", "kube-probe/1.37");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).ok()?;
    let exchange = sender.send_request(request);
    tokio::select! {
        response = exchange => response.ok().map(|response| response.status().as_u16()),
        _ = connection => None,
    }
}

/// Calls `grpc.health.v1.Health/Check`; two fields do not need generated code.
async fn grpc_serving(to: SocketAddrV4, service: &str) -> Option<bool> {
    let stream = TcpStream::connect(to).await.ok()?;
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.ok()?;
    let request = http::Request::post(format!("http://{to}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from(health_request(service)?)))
        .ok()?;
    let exchange = async {
        let response = sender.send_request(request).await.ok()?;
        let body = response.into_body().collect().await.ok()?.to_bytes();
        // Message header, then field 1 (status) = 1 (SERVING).
        Some(body.get(5..) == Some(&[0x08, 0x01][..]))
    };
    tokio::select! {
        answer = exchange => answer,
        _ = connection => None,
    }
}

/// A gRPC frame with `HealthCheckRequest { service }`.
fn health_request(service: &str) -> Option<Vec<u8>> {
    let name = u8::try_from(service.len())
        .ok()
        .filter(|length| *length < 128)?;
    let message = match name {
        0 => Vec::new(),
        length => [&[0x0a, length], service.as_bytes()].concat(),
    };
    let length = u32::try_from(message.len()).ok()?;
    Some([&[0][..], &length.to_be_bytes(), &message].concat())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn action(probe: serde_json::Value) -> Option<Action> {
        let container: Container = serde_json::from_value(json!({
            "name": "c", "ports": [{"name": "web", "containerPort": 8080}], "readinessProbe": probe,
        }))
        .unwrap();
        Action::new(container.readiness_probe.as_ref().unwrap(), &container)
    }

    #[test]
    fn actions_resolve_named_ports() {
        let http = json!({"httpGet": {"port": "web", "path": "/ready", "httpHeaders": [{"name": "a", "value": "b"}]}});
        let expected = Action::Http {
            port: 8080,
            path: "/ready".into(),
            headers: vec![("a".into(), "b".into())],
        };
        assert_eq!(action(http), Some(expected));
        assert_eq!(
            action(json!({"tcpSocket": {"port": 9}})),
            Some(Action::Tcp { port: 9 })
        );
        assert_eq!(action(json!({"tcpSocket": {"port": "other"}})), None);
        let grpc = Action::Grpc {
            port: 9,
            service: String::new(),
        };
        assert_eq!(action(json!({"grpc": {"port": 9}})), Some(grpc));
    }

    #[test]
    fn health_requests_are_framed() {
        assert_eq!(health_request(""), Some(vec![0, 0, 0, 0, 0]));
        assert_eq!(
            health_request("ab"),
            Some(vec![0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b'])
        );
    }
}
