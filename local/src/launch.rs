//! Starting a mesh from outside: what the machine allows, the listening socket, the namespaces.

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    cleanup::{self, CleanupError},
    client::Client,
    network::system_path,
    options::{Options, Privilege},
    state::{StateDir, StateError},
};

/// Name of the program that runs inside, beside `meshctl`.
pub const INSIDE_PROGRAM: &str = "weft-local";

/// How long the namespaces may take until the control API answers.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Tools that a mesh needs, with the Debian package that brings each.
const TOOLS: [(&str, &str); 6] = [
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("mount", "mount"),
];

/// A mesh cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Tools are missing.
    #[error("not installed: {missing}; on Debian: apt-get install {packages}")]
    Tools {
        /// The programs.
        missing: String,
        /// Their packages.
        packages: String,
    },
    /// The program that runs inside is missing.
    #[error("\"{}\" does not exist: it must stand beside meshctl", .0.display())]
    Program(PathBuf),
    /// The port is taken.
    #[error("cannot listen on 127.0.0.1:{port}: choose another with --ingress-port")]
    Listen {
        /// The port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// State directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// What an earlier run left could not be removed.
    #[error(transparent)]
    Cleanup(#[from] CleanupError),
    /// Files or processes.
    #[error("cannot start the mesh")]
    Io(#[from] io::Error),
    /// The processes inside gave up.
    #[error("the mesh did not start: {0}")]
    Failed(String),
}

/// A mesh that was started.
pub struct Launched {
    /// The outermost process; killing it ends the mesh.
    pub process: Child,
    /// The port that was opened on 127.0.0.1, if the mesh has a gateway.
    pub ingress_port: Option<u16>,
}

/// What the machine allows, and a hint if more were possible.
pub fn privilege() -> (Privilege, Option<&'static str>) {
    if rustix::process::getuid().is_root() {
        return (Privilege::Root, None);
    }
    if find("newuidmap").is_none() || find("newgidmap").is_none() {
        let hint =
            "without newuidmap all pods share your user id; on Debian: apt-get install uidmap";
        return (Privilege::SingleUser, Some(hint));
    }
    if has_range("/etc/subuid") && has_range("/etc/subgid") {
        return (Privilege::MappedRange, None);
    }
    let hint = "without a range in /etc/subuid and /etc/subgid all pods share your user id; as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER";
    (Privilege::SingleUser, Some(hint))
}

/// Whether the current user has a range of user ids of his own.
fn has_range(file: &str) -> bool {
    let uid = rustix::process::getuid().as_raw().to_string();
    let user = std::env::var("USER")
        .or_else(|_| std::env::var("LOGNAME"))
        .unwrap_or_default();
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split(':').next())
        .any(|owner| owner == uid || (!user.is_empty() && owner == user))
}

/// Starts a mesh. With `detach` it outlives the caller; else it ends with the calling thread.
pub fn launch(
    state: &StateDir,
    options: &mut Options,
    detach: bool,
) -> Result<Launched, LaunchError> {
    check_tools()?;
    let program = options.bin_dir.join(INSIDE_PROGRAM);
    if !program.is_file() {
        return Err(LaunchError::Program(program));
    }
    cleanup::clear(state)?;
    state.create()?;
    let listener = listen(options)?;
    let json = serde_json::to_vec_pretty(options).map_err(io::Error::other)?;
    std::fs::write(state.options(), json)?;
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(state.supervisor_log())?;
    let mut command = inside(options.privilege, detach);
    command
        .arg("--")
        .arg(&program)
        .arg("init")
        .arg(state.root());
    command.stdin(listener.map_or_else(Stdio::null, |listener| {
        Stdio::from(std::os::fd::OwnedFd::from(listener))
    }));
    command.stdout(log.try_clone()?).stderr(log);
    // A group of its own: Ctrl-C reaches meshctl alone, which then ends the mesh in order. Not where a session
    // of its own is made: setsid(1) would have to fork to leave the group, and we would watch its parent.
    if !detach {
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
    }
    let process = command.env("PATH", system_path()).spawn()?;
    std::fs::write(state.pid_file(), process.id().to_string())?;
    let ingress_port = options.mesh.then_some(options.ingress_port);
    Ok(Launched {
        process,
        ingress_port,
    })
}

/// Waits until the mesh answers.
pub async fn wait_until_up(state: &StateDir, process: &mut Child) -> Result<(), LaunchError> {
    let client = Client::new(state.clone());
    let deadline = Instant::now() + START_TIMEOUT;
    while client.status().await.is_err() {
        if process.try_wait()?.is_some() || Instant::now() > deadline {
            return Err(LaunchError::Failed(last_words(&state.supervisor_log())));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn last_words(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// The command line that enters new namespaces, up to the program.
fn inside(privilege: Privilege, detach: bool) -> Command {
    let mut command;
    if detach {
        command = Command::new("setsid");
    } else {
        // Dies with us, whatever happens to us.
        command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
    }
    command.arg("unshare");
    match privilege {
        Privilege::Root => {}
        Privilege::MappedRange => drop(command.args(["--user", "--map-root-user", "--map-auto"])),
        Privilege::SingleUser => drop(command.args(["--user", "--map-root-user"])),
    }
    command.args([
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--net",
    ]);
    command
}

fn listen(options: &mut Options) -> Result<Option<TcpListener>, LaunchError> {
    if !options.mesh {
        return Ok(None);
    }
    let port = options.ingress_port;
    let error = |source| LaunchError::Listen { port, source };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(error)?;
    options.ingress_port = listener.local_addr().map_err(error)?.port();
    Ok(Some(listener))
}

fn check_tools() -> Result<(), LaunchError> {
    let missing: Vec<_> = TOOLS
        .iter()
        .filter(|(tool, _)| find(tool).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    let missing: Vec<_> = missing.iter().map(|(tool, _)| *tool).collect();
    Err(LaunchError::Tools {
        missing: missing.join(", "),
        packages: packages.join(" "),
    })
}

fn find(program: &str) -> Option<PathBuf> {
    system_path()
        .split(':')
        .map(|dir| Path::new(dir).join(program))
        .find(|path| path.is_file())
}
