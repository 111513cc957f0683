//! A pod's namespaces: a process that holds them, a link to the router, and their end.

use std::{
    collections::BTreeSet,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::Ordering,
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin},
    time::timeout,
};

use super::Shared;
use crate::{
    dns, image,
    network::{NetworkError, PodLink, ROUTER},
    pause, process,
    rootfs::{Bind, RootfsPlan},
};

/// How long a file system may take to build; mounts take milliseconds.
const READY_TIMEOUT: Duration = Duration::from_secs(20);

/// A pod's namespaces cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The holding process could not be started or talked to.
    #[error("cannot make the pod's namespaces")]
    Start(#[from] std::io::Error),
    /// The holding process gave up.
    #[error("cannot make the pod's file system: {0}")]
    Pause(String),
    /// The network could not be attached.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// A pod's namespaces; they end with it.
pub struct Sandbox {
    holder: Child,
    pid: u32,
    dir: PathBuf,
    /// Closing it ends the holder.
    _stdin: ChildStdin,
}

impl Sandbox {
    /// Makes the namespaces of `pod` with its file system and network.
    pub async fn start(
        shared: &Shared,
        pod: &Pod,
        dir: &Path,
        volumes: Vec<Bind>,
        address: Ipv4Addr,
    ) -> Result<Self, SandboxError> {
        let root = dir.join("root");
        fs::create_dir_all(&root)?;
        let plan = plan(shared, pod, root, volumes, address);
        let mut holder = process::tool("unshare")
            .args(["--mount", "--net", "--uts", "--propagation", "private"])
            .arg(std::env::current_exe()?)
            .arg("pause")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = holder.id().unwrap_or_default();
        let mut stdin = holder.stdin.take().expect("stdin is piped");
        let mut line = serde_json::to_string(&plan).map_err(std::io::Error::other)?;
        line.push('\n');
        stdin.write_all(line.as_bytes()).await?;
        wait_until_ready(&mut holder).await?;
        let index = shared.links.fetch_add(1, Ordering::Relaxed);
        PodLink {
            index,
            address,
            pid,
        }
        .attach()
        .await?;
        Ok(Self {
            holder,
            pid,
            dir: dir.to_owned(),
            _stdin: stdin,
        })
    }

    /// The process that holds the namespaces.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Kills whatever is left inside and removes the pod's files.
    pub async fn stop(mut self) {
        for pid in processes_in(self.pid) {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.holder.kill().await;
        let _ = fs::remove_dir_all(&self.dir);
    }
}

async fn wait_until_ready(holder: &mut Child) -> Result<(), SandboxError> {
    let stdout = holder.stdout.take().expect("stdout is piped");
    let mut line = String::new();
    let read = timeout(READY_TIMEOUT, BufReader::new(stdout).read_line(&mut line)).await;
    if matches!(read, Ok(Ok(_))) && line.trim() == pause::READY {
        return Ok(());
    }
    let _ = holder.start_kill();
    let mut reason = String::new();
    if let Some(stderr) = &mut holder.stderr {
        let _ = stderr.read_to_string(&mut reason).await;
    }
    Err(SandboxError::Pause(reason.trim().to_owned()))
}

fn plan(
    shared: &Shared,
    pod: &Pod,
    root: PathBuf,
    volumes: Vec<Bind>,
    address: Ipv4Addr,
) -> RootfsPlan {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let hostname = pod.metadata.name.clone().unwrap_or_default();
    let programs = programs(shared, pod).into_iter().map(|source| {
        let target = image::path_inside(&source);
        Bind {
            source,
            target,
            read_only: true,
        }
    });
    RootfsPlan {
        root,
        resolv_conf: dns::resolv_conf(namespace, ROUTER),
        hosts: format!("127.0.0.1 localhost\n::1 localhost ip6-localhost\n{address} {hostname}\n"),
        // The kernel's limit for host names.
        hostname: hostname.chars().take(63).collect(),
        binds: programs.chain(volumes).collect(),
    }
}

/// Programs that the pod's containers may run, besides the system's.
fn programs(shared: &Shared, pod: &Pod) -> BTreeSet<PathBuf> {
    let spec = pod.spec.clone().unwrap_or_default();
    let containers = spec
        .init_containers
        .into_iter()
        .flatten()
        .chain(spec.containers);
    let of_images = containers.filter_map(|container| {
        let image = container.image.unwrap_or_default();
        image::resolve(&image, &shared.options).ok()?.file
    });
    of_images
        .chain(image::known_binaries(&shared.options))
        .collect()
}

/// Processes in the network namespace of `pid`, except itself.
fn processes_in(pid: u32) -> Vec<Pid> {
    let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let Some(own) = namespace(pid) else {
        return Vec::new();
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|other| *other != pid && namespace(*other).as_ref() == Some(&own))
        .filter_map(|other| Pid::from_raw(other.cast_signed()))
        .collect()
}
