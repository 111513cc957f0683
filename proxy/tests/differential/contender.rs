//! A data plane under test: its process, its upstreams, its access log.

use std::collections::HashMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::upstream::Upstream;

const START_DEADLINE: Duration = Duration::from_secs(20);
const LOG_DEADLINE: Duration = Duration::from_secs(15);

/// How to start a data plane.
pub struct Contender {
    program: String,
    arguments: Vec<String>,
}

/// A data plane that runs; dropping it ends the process.
pub struct Running {
    /// Where it listens for HTTP.
    pub http_port: u16,
    process: Child,
    directory: tempfile::TempDir,
    _upstreams: [Upstream; 2],
}

impl Contender {
    /// Envoy, with one worker and without hot restart.
    pub fn envoy(program: &str) -> Self {
        let arguments = [
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "--log-level",
            "error",
            "-c",
        ];
        Self {
            program: program.into(),
            arguments: arguments.map(String::from).to_vec(),
        }
    }

    /// This proxy.
    pub fn weft(program: &str) -> Self {
        let arguments = ["run", "--concurrency", "1", "-c"];
        Self {
            program: program.into(),
            arguments: arguments.map(String::from).to_vec(),
        }
    }

    /// Starts upstreams and the data plane, and waits until it listens.
    pub async fn start(self) -> Running {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let upstreams = [Upstream::start("one").await, Upstream::start("two").await];
        let [admin, http, refused] = free_ports();
        let log = directory.path().join("access.log");
        let retry =
            "num_retries: 2, retry_back_off: { base_interval: 0.001s, max_interval: 0.002s }";
        let bootstrap = include_str!("bootstrap.yaml")
            .replace("{admin}", &admin.to_string())
            .replace("{http}", &http.to_string())
            .replace("{refused}", &refused.to_string())
            .replace("{one}", &upstreams[0].port.to_string())
            .replace("{two}", &upstreams[1].port.to_string())
            .replace("{log}", &log.display().to_string())
            .replace("{retry}", retry);
        let file = directory.path().join("bootstrap.yaml");
        std::fs::write(&file, bootstrap).expect("the bootstrap is written");
        let process = Command::new(&self.program)
            .args(&self.arguments)
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", self.program));
        let mut running = Running {
            http_port: http,
            process,
            directory,
            _upstreams: upstreams,
        };
        running.wait_until_it_listens(&self.program, admin).await;
        running
    }
}

impl Running {
    async fn wait_until_it_listens(&mut self, program: &str, admin: u16) {
        let deadline = Instant::now() + START_DEADLINE;
        while !is_ready(admin).await {
            if let Some(status) = self
                .process
                .try_wait()
                .expect("the process can be waited for")
            {
                panic!("{program} ended with {status} instead of listening");
            }
            assert!(
                Instant::now() < deadline,
                "{program} is not ready after {START_DEADLINE:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The access log lines by row, once those of all `rows` are there.
    pub async fn access_log(&self, rows: &[String]) -> HashMap<String, serde_json::Value> {
        let path: PathBuf = self.directory.path().join("access.log");
        let deadline = Instant::now() + LOG_DEADLINE;
        loop {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: HashMap<_, _> = text.lines().filter_map(log_line).collect();
            if rows.iter().all(|row| lines.contains_key(row)) || Instant::now() > deadline {
                return lines;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn log_line(line: &str) -> Option<(String, serde_json::Value)> {
    let mut value: serde_json::Value = serde_json::from_str(line).ok()?;
    let row = value.as_object_mut()?.remove("row")?;
    Some((row.as_str()?.to_owned(), value))
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

/// Ports nobody listens on at the moment.
fn free_ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    held.map(|listener| listener.local_addr().expect("a bound address").port())
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
