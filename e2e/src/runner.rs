//! Runs cases in order and prints what happened.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    args::{Args, DataPlane},
    case::Case,
    cases,
    cluster::{Cluster, kubernetes::Kubernetes, local::Local},
    install,
    mesh::Mesh,
    samples::Samples,
};

/// How long all pods may take from the start to readiness.
const START_TIMEOUT: Duration = Duration::from_secs(90);
/// The same where containers are started by a kubelet.
const START_TIMEOUT_KUBERNETES: Duration = Duration::from_secs(240);

/// The outcome of one case.
struct Outcome {
    case: &'static str,
    data_plane: DataPlane,
    requests: u64,
    failure: Option<String>,
    elapsed: Duration,
}

impl Outcome {
    fn word(&self) -> &'static str {
        match self.failure {
            None => "passed",
            Some(_) => "FAILED",
        }
    }
}

/// Runs what `args` chooses; whether all passed.
pub fn run(args: &Args) -> Result<bool> {
    if args.list {
        for case in cases::ALL {
            say(&format!("{:<18} {}", case.name, case.about));
        }
        return Ok(true);
    }
    for name in &args.cases {
        let known = cases::ALL.iter().any(|case| case.name == name);
        ensure!(known, "no case \"{name}\": see --list");
    }
    ensure!(
        args.kubeconfig.is_none() || args.data_planes() == [DataPlane::Weft],
        "in a Kubernetes cluster the data plane is weft"
    );
    let samples = Samples::find(args.istio_samples.as_deref())?;
    say(&format!("samples: {}", samples.origin()));
    let mut outcomes = Vec::new();
    for data_plane in args.data_planes() {
        let chosen: Vec<&Case> = cases::ALL
            .iter()
            .filter(|case| case.data_planes.contains(&data_plane))
            .filter(|case| case.places.includes(args))
            .filter(|case| args.cases.is_empty() || args.cases.iter().any(|name| name == case.name))
            .collect();
        if !chosen.is_empty() {
            outcomes.extend(run_with(args, data_plane, &samples, &chosen));
        }
    }
    summarize(&outcomes);
    say(&format!("samples: {}", samples.origin()));
    Ok(!outcomes.is_empty() && !outcomes.iter().any(|outcome| outcome.failure.is_some()))
}

/// Runs `chosen` in one mesh; a mesh that does not start fails them all.
fn run_with(
    args: &Args,
    data_plane: DataPlane,
    samples: &Samples,
    chosen: &[&Case],
) -> Vec<Outcome> {
    let start = Instant::now();
    let (mut mesh, manifests) = match start_mesh(args, data_plane, samples) {
        Ok(mesh) => mesh,
        Err(error) => {
            let failure = format!("the mesh did not start: {error:#}");
            say(&format!("{}: {failure}", data_plane.name()));
            let failed = |case: &&Case| Outcome {
                case: case.name,
                data_plane,
                requests: 0,
                failure: Some(failure.clone()),
                elapsed: start.elapsed(),
            };
            return chosen.iter().map(failed).collect();
        }
    };
    let seconds = start.elapsed().as_secs_f64();
    say(&format!(
        "{}: the mesh is ready after {seconds:.1} s",
        data_plane.name()
    ));
    let outcomes = chosen
        .iter()
        .map(|case| run_case(case, &mut mesh))
        .collect();
    if args.keep {
        // The mesh that goes on watches this directory.
        let _ = manifests.keep();
    }
    let is_ours = !args.keep && args.attach.is_none();
    let ended = if is_ours {
        mesh.cluster().down()
    } else {
        Ok(())
    };
    if let Err(error) = ended {
        say(&format!(
            "{}: the mesh did not end: {error:#}",
            data_plane.name()
        ));
    }
    outcomes
}

fn start_mesh(
    args: &Args,
    data_plane: DataPlane,
    samples: &Samples,
) -> Result<(Mesh, tempfile::TempDir)> {
    let manifests = tempfile::tempdir()?;
    install::write(manifests.path(), data_plane, samples)?;
    let cluster: Box<dyn Cluster> = match (&args.kubeconfig, &args.attach) {
        (Some(kubeconfig), _) => Box::new(Kubernetes::up(args, kubeconfig, manifests.path())?),
        (None, Some(name)) => Box::new(Local::attach(args, name)?),
        (None, None) => Box::new(Local::up(args, data_plane, manifests.path())?),
    };
    let mesh = Mesh::new(cluster, data_plane, samples.clone())?;
    if args.attach.is_some() {
        return Ok((mesh, manifests));
    }
    let limit = match args.kubeconfig {
        Some(_) => START_TIMEOUT_KUBERNETES,
        None => START_TIMEOUT,
    };
    match mesh.wait_until_ready(limit) {
        Ok(_) => Ok((mesh, manifests)),
        Err(error) => {
            if !args.keep {
                mesh.cluster().down()?;
            }
            Err(error)
        }
    }
}

fn run_case(case: &Case, mesh: &mut Mesh) -> Outcome {
    let data_plane = mesh.data_plane();
    say(&format!(
        "{} [{}]: {}",
        case.name,
        data_plane.name(),
        case.about
    ));
    let start = Instant::now();
    let result = (case.run)(mesh);
    // Read before the reset, whose own requests are not the case's.
    let requests = mesh.take_sent();
    let result = result.and(mesh.reset());
    let elapsed = start.elapsed();
    let failure = result.err().map(|error| format!("{error:#}"));
    let verdict = failure.as_deref().unwrap_or("passed");
    let (name, seconds) = (data_plane.name(), elapsed.as_secs_f64());
    say(&format!(
        "{} [{name}]: {verdict}, {requests} requests in {seconds:.1} s",
        case.name
    ));
    Outcome {
        case: case.name,
        data_plane,
        requests,
        failure,
        elapsed,
    }
}

fn summarize(outcomes: &[Outcome]) {
    say(&format!(
        "\n{:<18} {:<10} {:>9}  {:<7} {:>8}",
        "case", "data plane", "requests", "result", "seconds"
    ));
    for outcome in outcomes {
        say(&format!(
            "{:<18} {:<10} {:>9}  {:<7} {:>8.1}",
            outcome.case,
            outcome.data_plane.name(),
            outcome.requests,
            outcome.word(),
            outcome.elapsed.as_secs_f64()
        ));
    }
    let failed: Vec<&Outcome> = outcomes
        .iter()
        .filter(|outcome| outcome.failure.is_some())
        .collect();
    for outcome in &failed {
        let failure = outcome.failure.as_deref().unwrap_or_default();
        say(&format!(
            "\n{} [{}]: {failure}",
            outcome.case,
            outcome.data_plane.name()
        ));
    }
    say(&format!(
        "\n{} passed, {} failed",
        outcomes.len() - failed.len(),
        failed.len()
    ));
}

fn say(line: &str) {
    // Somebody who closed the pipe does not want to know.
    let _ = writeln!(std::io::stdout(), "{line}");
}
