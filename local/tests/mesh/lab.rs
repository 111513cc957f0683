//! A mesh in a temporary directory, driven over its control API.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Child,
    sync::Arc,
    time::{Duration, Instant},
};

use local::{
    api::{ApplyRequest, ExecRequest, PodRef, PodSummary},
    client::{Client, ClientError},
    controller::Change,
    frame::Frame,
    launch::{self, LaunchError},
    options::{DataPlane, Options},
    state::StateDir,
};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

/// Longest wait for anything; everything takes a second or two on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Lab {
    pub(crate) dir: Arc<TempDir>,
    pub(crate) state: StateDir,
    pub(crate) client: Client,
    pub(crate) process: Child,
}

impl Lab {
    /// Starts a mesh that watches a directory with `files`.
    pub(crate) async fn up(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("manifests")).unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join("manifests").join(name), text).unwrap();
        }
        Self::start(Arc::new(dir)).await
    }

    /// Starts another mesh in the same place.
    pub(crate) async fn up_again(self) -> Self {
        Self::start(self.dir.clone()).await
    }

    async fn start(dir: Arc<TempDir>) -> Self {
        let state = StateDir::new(dir.path().join("state"));
        let mut process = launch::launch(&state, &mut options(dir.path()), false)
            .unwrap()
            .process;
        launch::wait_until_up(&state, &mut process).await.unwrap();
        Self {
            client: Client::new(state.clone()),
            dir,
            state,
            process,
        }
    }

    pub(crate) fn launch_second(&self) -> Result<(), LaunchError> {
        launch::launch(&self.state, &mut options(self.dir.path()), false).map(drop)
    }

    /// Ends the mesh in order; everything must be gone.
    pub(crate) async fn down(mut self) {
        self.client.down().await.unwrap();
        eventually("the mesh ends", async || {
            self.process.try_wait().unwrap().is_some()
        })
        .await;
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{status}");
        let marker = self.state.root().display().to_string();
        assert_eq!(processes_naming(&marker), Vec::<String>::new());
    }

    pub(crate) fn pod(&self, name: &str) -> PodRef {
        PodRef {
            namespace: Some("default".into()),
            pod: name.into(),
        }
    }

    /// Pods whose names begin with `name`.
    pub(crate) async fn pods(&self, name: &str) -> Vec<PodSummary> {
        let mut pods = self.client.status().await.unwrap().pods;
        pods.retain(|pod| pod.name.starts_with(name));
        pods
    }

    pub(crate) async fn wait_ready(&self, count: usize) {
        eventually("pods are ready", async || {
            self.pods("").await.iter().filter(|pod| pod.serving).count() == count
        })
        .await;
    }

    pub(crate) async fn apply(&self, text: &str) -> Result<Vec<Change>, ClientError> {
        self.client.apply(&request(text)).await
    }

    pub(crate) async fn delete(&self, text: &str) -> Vec<Change> {
        self.client.delete(&request(text)).await.unwrap()
    }

    /// Runs a script in a pod; returns its output and exit code.
    pub(crate) async fn exec(&self, pod: &str, script: &str) -> (String, i32) {
        let argv = ["bash", "-c", script].map(str::to_owned).into();
        let request = ExecRequest {
            pod: self.pod(pod),
            container: None,
            argv,
        };
        let mut stream = self.client.exec(&request).await.unwrap();
        // The program may have ended already.
        let _ = Frame::Stdin(Vec::new()).write(&mut stream).await;
        let mut output = Vec::new();
        loop {
            match Frame::read(&mut stream)
                .await
                .unwrap()
                .expect("a program ends with its code")
            {
                Frame::Stdout(bytes) => output.extend(bytes),
                Frame::Exit(code) => {
                    let _ = stream.shutdown().await;
                    return (String::from_utf8(output).unwrap(), code);
                }
                Frame::Stdin(_) | Frame::Stderr(_) => {}
            }
        }
    }

    /// What the server at `host` says.
    pub(crate) async fn ask(&self, pod: &str, host: &str, port: u16) -> String {
        self.exec(pod, &format!("exec 3<>/dev/tcp/{host}/{port} && cat <&3"))
            .await
            .0
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn options(dir: &Path) -> Options {
    Options {
        name: "test".into(),
        dir: Some(dir.join("manifests")),
        data_plane: DataPlane::Weft,
        envoy_path: None,
        ingress_port: 0,
        bin_dir: PathBuf::from(env!("CARGO_BIN_EXE_weft-local"))
            .parent()
            .unwrap()
            .to_owned(),
        images: [].into(),
        hosts: vec![("outside.example".into(), Ipv4Addr::new(203, 0, 113, 9))],
        mesh: false,
        privilege: launch::privilege().0,
    }
}

fn request(text: &str) -> ApplyRequest {
    ApplyRequest {
        text: text.into(),
        file: "test.yaml".into(),
        namespace: "default".into(),
    }
}

/// A server that says `word` to whoever connects, with a service in front.
pub(crate) fn manifest(name: &str, replicas: usize, word: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports: [{{port: 80, targetPort: tcp}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: {name}-settings}}
data: {{motto: hello}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
      - name: server
        image: debian
        command: [perl, -MIO::Socket::INET, -e]
        args: ['$s = IO::Socket::INET->new(LocalPort => 8080, Listen => 64, ReuseAddr => 1) or die $!; while ($c = $s->accept) {{ print $c "$ENV{{WORD}}\n"; close $c }}']
        env:
        - {{name: WORD, value: {word}}}
        - {{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
        ports: [{{name: tcp, containerPort: 8080}}]
        readinessProbe: {{tcpSocket: {{port: 8080}}}}
        volumeMounts:
        - {{name: settings, mountPath: /etc/settings}}
        - {{name: scratch, mountPath: /scratch}}
      volumes:
      - {{name: settings, configMap: {{name: {name}-settings}}}}
      - {{name: scratch, emptyDir: {{}}}}
"#
    )
}

/// Waits for a condition.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Command lines of processes outside that name `marker`.
pub(crate) fn processes_naming(marker: &str) -> Vec<String> {
    let own = std::process::id().to_string();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let others = entries.filter(|entry| entry.file_name().to_str() != Some(&own));
    let lines = others.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(marker))
        .collect()
}
