//! One mesh, measured from the start of the control plane to its changes.

use std::{
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use serde_json::Value;
use tokio::time;

use super::{
    api::Api,
    api_server::ApiServer,
    args::{Args, Size},
    fleet::Sidecars,
    meshd::Meshd,
    report::{Figures, Metric},
};

/// Longer than anything that is worth a figure.
const PATIENCE: Duration = Duration::from_secs(300);
/// Allocators give back with delay what only a storm needed.
const SETTLED_AFTER: Duration = Duration::from_secs(3);
const IDLE: Duration = Duration::from_secs(10);
/// Changes are as far apart as lone ones are.
const PAUSE: Duration = Duration::from_millis(500);
const MIB: f64 = 1024.0 * 1024.0;

/// A change: the path of the object, its patch, and the text by which it is recognised where it arrives.
type Edit = (String, Value, String);

/// Measures everything in a mesh of `size`; the programs' files are in `dir`.
pub(super) async fn measure(args: &Args, size: Size, dir: &Path) -> anyhow::Result<Figures> {
    let server = ApiServer::start(&args.kubernetes_bin, dir).context("the API server")?;
    let api = Api::connect(&server).await?;
    say(&format!("{size}: making the mesh"));
    for namespace in ["istio-system", super::mesh::NAMESPACE] {
        api.create_namespace(namespace).await?;
    }
    api.define(&args.definitions).await?;
    api.fill(size).await?;
    server.make_room()?;

    let mut figures = Figures::new(size);
    say(&format!("{size}: starting the control plane"));
    let mut meshd = Meshd::start(args, &server, dir).await.context("meshd")?;
    figures.set(Metric::StartCpu, meshd.quiet().await?.as_secs_f64());

    let mut sidecars = connect(size, &mut meshd, &mut figures).await?;
    let before = meshd.cpu_time()?;
    time::sleep(IDLE).await;
    let idle = (meshd.cpu_time()? - before).as_secs_f64() / IDLE.as_secs_f64();
    figures.set(Metric::IdleCpu, idle * 100.0);

    let mut run = Run {
        api: &api,
        meshd: &mut meshd,
        sidecars: &mut sidecars,
    };
    say(&format!("{size}: changing endpoints"));
    for round in 0..args.rounds {
        // Far from each other, so that no change meets what another one has warmed.
        let number = round * size.services / args.rounds;
        let marker = format!("10.255.{}.{}", round / 250, round % 250 + 1);
        let (path, patch) = size.endpoint_added(number, &marker);
        let change = run.change((path, patch, marker)).await?;
        figures.set(Metric::EndpointHalf, change.half_ms);
        figures.set(Metric::EndpointLast, change.last_ms);
        figures.set(Metric::EndpointCpu, change.cpu_ms);
        figures.set(Metric::EndpointBytes, change.bytes);
    }
    say(&format!("{size}: changing routes"));
    for round in 0..args.rounds {
        let index = round * size.routed() / args.rounds;
        let marker = format!("bench-change-{round:05}");
        let (path, patch) = size.route_changed(index, &marker);
        let change = run.change((path, patch, marker)).await?;
        figures.set(Metric::RouteHalf, change.half_ms);
        figures.set(Metric::RouteLast, change.last_ms);
        figures.set(Metric::RouteCpu, change.cpu_ms);
        figures.set(Metric::RouteBytes, change.bytes);
    }
    Ok(figures)
}

async fn connect(size: Size, meshd: &mut Meshd, figures: &mut Figures) -> anyhow::Result<Sidecars> {
    say(&format!("{size}: connecting sidecars"));
    let (start, before) = (Instant::now(), meshd.cpu_time()?);
    let mut sidecars = Sidecars::connect(size, meshd.xds);
    let configured = sidecars.all_configured(PATIENCE).await?;
    let taken = configured.last - start;
    figures.set(Metric::ConfiguredTime, taken.as_secs_f64());
    let cpu = meshd.quiet().await? - before;
    figures.set(Metric::ConfiguredCpu, cpu.as_secs_f64());
    if sidecars.broken() > 0 {
        say(&format!(
            "{size}: {} streams broke meanwhile and were opened again",
            sidecars.broken()
        ));
    }
    time::sleep(SETTLED_AFTER).await;
    figures.set(Metric::Memory, meshd.resident_bytes()? as f64 / MIB);
    Ok(sidecars)
}

/// The parts of a running measurement.
struct Run<'a> {
    api: &'a Api,
    meshd: &'a mut Meshd,
    sidecars: &'a mut Sidecars,
}

/// What a change has cost.
struct Cost {
    half_ms: f64,
    last_ms: f64,
    cpu_ms: f64,
    bytes: f64,
}

impl Run<'_> {
    /// Writes a change and follows it to every sidecar. Time counts from before the write; CPU time and bytes count
    /// until the control plane has nothing more to do, so what it writes back is part of them.
    async fn change(&mut self, (path, patch, marker): Edit) -> anyhow::Result<Cost> {
        time::sleep(PAUSE).await;
        let before = self.meshd.cpu_time()?;
        self.sidecars.expect(&marker);
        let start = Instant::now();
        self.api.patch(&path, &patch).await?;
        let arrivals = self.sidecars.all_changed(PATIENCE).await;
        let arrivals = arrivals.with_context(|| format!("\"{path}\" changed"))?;
        let cpu = self.meshd.quiet().await? - before;
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        Ok(Cost {
            half_ms: ms(arrivals.half - start),
            last_ms: ms(arrivals.last - start),
            cpu_ms: ms(cpu),
            bytes: self.sidecars.bytes_each(),
        })
    }
}

fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
