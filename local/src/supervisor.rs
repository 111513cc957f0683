//! Assembly of everything that runs inside the mesh's namespaces.

use std::{
    net::SocketAddr,
    os::fd::AsFd,
    path::Path,
    sync::{Arc, Mutex, atomic::AtomicU32},
    time::Duration,
};

use notify::{RecursiveMode, Watcher};
use rustix::{
    fs::Mode,
    mount::{MountFlags, mount},
    process::umask,
};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::{Notify, mpsc, oneshot, watch},
    time::{sleep, timeout},
};

use crate::{
    control::{self, ControlState},
    controller::{Command, Controller, View, Wiring},
    desired::DataView,
    dns::{self, Zone},
    ingress,
    network::{self, AddressPool, ROUTER},
    options::Options,
    pod::Shared,
    state::{self, StateDir, write_atomically},
    system,
    token::TokenSigner,
};

/// Commands waiting for the controller.
const COMMAND_QUEUE: usize = 64;

/// Editors write files in several steps; they are read when it has been quiet this long.
const DIRECTORY_QUIET: Duration = Duration::from_millis(50);

/// Longest orderly end; afterwards the kernel ends what is left.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(20);

/// Longest wait for clients to take the answers to what they asked, the end itself among it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Runs the mesh in `state` until it is told to end.
pub fn run(state: &str) -> Result<(), Error> {
    mesh_runtime::log::init("info", mesh_runtime::log::Format::Text)?;
    let state = StateDir::new(state);
    let control = bind_control(&state.control_socket())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let result = runtime.block_on(supervise(state, control));
    runtime.shutdown_background();
    result
}

/// Binds the control socket for its owner alone. The mode is right from the start, not set afterwards;
/// there is no other thread yet that the file mode mask could disturb.
fn bind_control(path: &Path) -> std::io::Result<std::os::unix::net::UnixListener> {
    let before = umask(Mode::from_raw_mode(0o177));
    let listener = std::os::unix::net::UnixListener::bind(path);
    umask(before);
    let listener = listener?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn supervise(
    state: StateDir,
    control: std::os::unix::net::UnixListener,
) -> Result<(), Error> {
    let options: Options = serde_json::from_slice(&std::fs::read(state.options())?)?;
    mount(
        "weft",
        state.namespace_root(),
        "tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV,
        c"mode=755",
    )?;
    network::set_up_router().await?;
    let signer = TokenSigner::generate()?;
    let jwks = signer.jwks().as_bytes();
    write_atomically(state.root(), state::JWKS, &state.staging(), jwks)?;
    let ingress_listener = if options.mesh {
        Some(inherited_listener()?)
    } else {
        None
    };

    let (zone, zone_out) = watch::channel(Arc::new(Zone::default()));
    let (view, view_out) = watch::channel(Arc::new(View::default()));
    let (data, data_out) = watch::channel(DataView {
        objects: Arc::default(),
        root_cert: state.root_cert(),
    });
    let (webhook, webhook_out) = watch::channel(None);
    let (commands, command_inbox) = mpsc::channel(COMMAND_QUEUE);
    let defaults = system::objects(&options, &state);
    let shared = Arc::new(Shared {
        options,
        state: state.clone(),
        signer,
        addresses: Mutex::new(AddressPool::pods()),
        links: AtomicU32::new(1),
        data: data_out,
        webhook: webhook_out,
    });
    let wiring = Wiring {
        shared: shared.clone(),
        zone,
        view,
        data,
        webhook,
    };
    let _watcher = match &shared.options.dir {
        Some(dir) => Some(watch_directory(dir, commands.clone())?),
        None => None,
    };
    let stop = Arc::new(Notify::new());
    let listener = UnixListener::from_std(control)?;
    let control_state = ControlState {
        shared,
        view: view_out.clone(),
        commands: commands.clone(),
        stop: stop.clone(),
    };

    let (end, ended) = oneshot::channel::<()>();
    let is_ended = async {
        let _ = ended.await;
    };
    let controller = Controller::new(wiring, defaults).run(command_inbox);
    let servers = async {
        let ingress = async {
            match ingress_listener {
                Some(listener) => ingress::serve(listener, view_out).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            result = dns::serve(SocketAddr::from((ROUTER, 53)), zone_out) => result,
            result = control::serve(listener, control_state, is_ended) => result,
            () = ingress => Ok(()),
        }
    };
    let ending = async {
        stop.notified().await;
        let (reply, done) = oneshot::channel();
        let _ = commands.send(Command::Shutdown(reply)).await;
        let _ = timeout(SHUTDOWN_TIMEOUT, done).await;
    };
    let mesh = async {
        tokio::select! {
            () = controller => {}
            () = ending => {}
        }
        let _ = end.send(());
        sleep(ANSWER_TIMEOUT).await;
    };
    tokio::select! {
        () = mesh => Ok(()),
        result = servers => result.map_err(Into::into),
    }
}

/// The listening socket that `meshctl` made outside and passed as standard input.
fn inherited_listener() -> Result<TcpListener, Error> {
    let listener = std::net::TcpListener::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    Ok(TcpListener::from_std(listener)?)
}

/// Tells the controller when something below `dir` has changed.
fn watch_directory(
    dir: &Path,
    commands: mpsc::Sender<Command>,
) -> Result<notify::RecommendedWatcher, Error> {
    let (changes, mut inbox) = mpsc::channel(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading is no change; without this the controller's own reads would wake it.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            let _ = changes.try_send(());
        }
    })?;
    watcher.watch(dir, RecursiveMode::Recursive)?;
    // Ends when the watcher is dropped and its channel closes.
    tokio::spawn(async move {
        while inbox.recv().await.is_some() {
            while let Ok(Some(())) = timeout(DIRECTORY_QUIET, inbox.recv()).await {}
            if commands.send(Command::DirectoryChanged).await.is_err() {
                return;
            }
        }
    });
    Ok(watcher)
}
