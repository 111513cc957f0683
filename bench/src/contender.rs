//! Starting, measuring and ending the proxies.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use crate::{
    args::{Args, Proxy},
    process,
};

const READY_TIMEOUT: Duration = Duration::from_secs(20);
const END_TIMEOUT: Duration = Duration::from_secs(3);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// One or more running processes that together carry the load; they end when this is dropped.
#[derive(Debug)]
pub struct Contender {
    children: Vec<Child>,
}

/// Where a program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On the core of what is measured.
    Measured,
    /// On all cores.
    Anywhere,
}

/// One proxy's bootstrap.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    /// A name for its files.
    pub name: &'static str,
    /// The Envoy bootstrap.
    pub yaml: String,
    /// What the floor is told instead.
    pub floor: Vec<String>,
    /// Where it listens.
    pub listen: SocketAddr,
}

impl Contender {
    /// Starts `proxy` once for each bootstrap, on the proxies' core, and waits until all listen.
    pub fn start(
        args: &Args,
        proxy: Proxy,
        dir: &Path,
        bootstraps: &[Bootstrap],
    ) -> anyhow::Result<Self> {
        let mut contender = Self {
            children: Vec::new(),
        };
        for bootstrap in bootstraps {
            let config = dir.join(format!("{}-{}.yaml", proxy.name(), bootstrap.name));
            fs::write(&config, &bootstrap.yaml)?;
            let log = config.with_extension("log");
            let mut child = spawn(
                command(args, proxy, &config, bootstrap),
                &log,
                Place::Measured,
            )?;
            let ready = wait_until_listening(&mut child, bootstrap.listen, READY_TIMEOUT);
            contender.children.push(child);
            ready.with_context(|| {
                let log = fs::read_to_string(&log).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(5).collect();
                let (name, tail) = (proxy.name(), tail.join("\n"));
                format!("{name} with {} is not ready: {tail}", config.display())
            })?;
        }
        Ok(contender)
    }

    /// Starts `command` and waits until it listens on `address`.
    pub fn of(
        command: Command,
        log: &Path,
        address: SocketAddr,
        place: Place,
    ) -> anyhow::Result<Self> {
        Self::within(READY_TIMEOUT, command, log, address, place)
    }

    /// The same, for what takes longer to start.
    pub fn within(
        timeout: Duration,
        command: Command,
        log: &Path,
        address: SocketAddr,
        place: Place,
    ) -> anyhow::Result<Self> {
        let mut child = spawn(command, log, place)?;
        let ready = wait_until_listening(&mut child, address, timeout);
        let contender = Self {
            children: vec![child],
        };
        ready.with_context(|| fs::read_to_string(log).unwrap_or_default())?;
        Ok(contender)
    }

    /// The processes.
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        self.children.iter().map(Child::id)
    }

    /// CPU time used so far.
    pub fn cpu_time(&self) -> anyhow::Result<Duration> {
        self.children
            .iter()
            .map(|child| process::cpu_time(child.id()))
            .sum()
    }

    /// Resident memory now.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        let sizes = self
            .children
            .iter()
            .map(|child| process::resident_bytes(child.id()));
        sizes.sum()
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        for child in &self.children {
            process::terminate(child.id());
        }
        let deadline = Instant::now() + END_TIMEOUT;
        for child in &mut self.children {
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
                thread::sleep(POLL_INTERVAL);
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn command(args: &Args, proxy: Proxy, config: &Path, bootstrap: &Bootstrap) -> Command {
    match proxy {
        Proxy::Weft => {
            let mut command = Command::new(absolute(&args.weft()));
            command.arg("run").arg("-c").arg(config);
            command
        }
        Proxy::Envoy => {
            let mut command = Command::new(absolute(&args.envoy));
            command.arg("-c").arg(config);
            command.args([
                "--concurrency",
                "1",
                "--disable-hot-restart",
                "-l",
                "warning",
            ]);
            command
        }
        Proxy::Floor => {
            let mut command = Command::new(absolute(&args.floor()));
            command.args(&bootstrap.floor);
            command
        }
    }
}

/// A path with directories is taken from here; a bare name is looked up by the system.
fn absolute(program: &Path) -> PathBuf {
    match program.components().count() {
        1 => program.to_owned(),
        _ => fs::canonicalize(program).unwrap_or_else(|_| program.to_owned()),
    }
}

/// Starts `command` in its place: a child inherits the binding of the thread that starts it.
fn spawn(mut command: Command, log: &Path, place: Place) -> anyhow::Result<Child> {
    let log = fs::File::create(log)?;
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let name = command.get_program().to_string_lossy().into_owned();
    let starter = thread::spawn(move || {
        match place {
            Place::Measured => process::pin(process::PROXY_CORE)?,
            Place::Anywhere => process::unpin()?,
        }
        command.spawn()
    });
    let child = starter.join().expect("the starter does not panic");
    child.with_context(|| format!("cannot start \"{name}\""))
}

fn wait_until_listening(
    child: &mut Child,
    address: SocketAddr,
    timeout: Duration,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + timeout;
    while TcpStream::connect_timeout(&address, POLL_INTERVAL).is_err() {
        if let Some(status) = child.try_wait()? {
            bail!("it ended with {status}");
        }
        ensure!(Instant::now() < deadline, "nothing listens on {address}");
        thread::sleep(POLL_INTERVAL);
    }
    Ok(())
}
