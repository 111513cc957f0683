//! The control plane that is measured.

use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time,
};

use super::{api_server::ApiServer, args::Args};
use crate::{
    contender::{Contender, Place},
    process::CpuClock,
    scenarios::free_address,
};

const READY_TIMEOUT: Duration = Duration::from_secs(300);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Work is over when this much time passes with less than a hundredth of it used.
const QUIET: Duration = Duration::from_millis(500);
const QUIET_TIMEOUT: Duration = Duration::from_secs(180);

/// A running control plane.
#[derive(Debug)]
pub(super) struct Meshd {
    /// Where proxies connect.
    pub(super) xds: SocketAddr,
    http: SocketAddr,
    running: Contender,
    clock: CpuClock,
}

impl Meshd {
    /// Starts it on its core and waits until it is ready.
    pub(super) async fn start(args: &Args, server: &ApiServer, dir: &Path) -> anyhow::Result<Self> {
        let (xds, http) = (free_address()?, free_address()?);
        let mut command = Command::new(args.bin_dir.join("meshd"));
        command
            .arg("--kubernetes")
            .arg("--kubeconfig")
            .arg(&server.kubeconfig);
        for (flag, address) in [
            ("--plaintext-address", xds),
            ("--http-address", http),
            ("--xds-address", free_address()?),
            ("--webhook-address", free_address()?),
        ] {
            command.arg(flag).arg(address.to_string());
        }
        let log = dir.join("meshd.log");
        let running = Contender::within(READY_TIMEOUT, command, &log, http, Place::Measured)?;
        let pid = running.pids().next().context("meshd has no process")?;
        let meshd = Self {
            xds,
            http,
            running,
            clock: CpuClock::new(pid),
        };
        meshd.wait_until_ready().await?;
        Ok(meshd)
    }

    async fn wait_until_ready(&self) -> anyhow::Result<()> {
        let start = Instant::now();
        while !self.is_ready().await? {
            ensure!(
                start.elapsed() < READY_TIMEOUT,
                "meshd does not become ready"
            );
            time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    async fn is_ready(&self) -> anyhow::Result<bool> {
        let mut stream = TcpStream::connect(self.http).await?;
        let request = b"GET /ready HTTP/1.1\r\nhost: meshd\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await?;
        let mut response = String::new();
        stream.read_to_string(&mut response).await?;
        Ok(response.starts_with("HTTP/1.1 200"))
    }

    /// CPU time since its start.
    pub(super) fn cpu_time(&mut self) -> anyhow::Result<Duration> {
        self.clock.time()
    }

    /// Waits until it has nothing more to do, and returns its CPU time then.
    pub(super) async fn quiet(&mut self) -> anyhow::Result<Duration> {
        let start = Instant::now();
        let mut before = self.cpu_time()?;
        loop {
            time::sleep(QUIET).await;
            let now = self.cpu_time()?;
            if now - before < QUIET / 100 {
                return Ok(now);
            }
            ensure!(
                start.elapsed() < QUIET_TIMEOUT,
                "meshd does not come to rest"
            );
            before = now;
        }
    }

    /// Resident memory.
    pub(super) fn resident_bytes(&self) -> anyhow::Result<u64> {
        self.running.resident_bytes()
    }
}
