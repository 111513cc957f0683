//! One container's life: start, probes, exit, restart with backoff, orderly end.
//!
//! The task owns the process. Everything it learns goes to the pod as [`Report`]s; everything it is
//! told comes as [`Control`]s. Dropping the task kills the process.

use std::{process::ExitStatus, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    process::Child,
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::Launch;
use crate::probe::{Health, Probes};

/// Delay before the second restart; doubled each time.
const BACKOFF_BASE: Duration = Duration::from_millis(500);

/// Longest delay before a restart.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// A process that ran this long starts with a fresh backoff.
const BACKOFF_RESET: Duration = Duration::from_secs(60);

/// When a container is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Whatever its exit status.
    Always,
    /// Unless it succeeded.
    OnFailure,
    /// Never.
    Never,
}

/// What a container is told.
#[derive(Debug)]
pub enum Control {
    /// Send a signal to its process group.
    Signal(Signal),
    /// Kill it and do not start it again until told.
    Hold,
    /// Start it again.
    Release,
    /// End it: hook, SIGTERM, and SIGKILL when the time is over.
    Terminate(Duration),
}

/// What a container's task tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The process runs.
    Running,
    /// Its startup probe has passed (or there is none) and its postStart hook has ended.
    Started,
    /// Its readiness.
    Ready(bool),
    /// The process ended with this code (128 + signal if killed).
    Exited(i32),
    /// It could not be started.
    Failed(String),
    /// The task is over.
    Finished,
}

/// A container's task and what it needs.
pub struct Runner {
    /// How it starts.
    pub launch: Launch,
    /// When it starts again.
    pub restart: Restart,
    /// Its probes.
    pub probes: Probes,
    /// Command to run after the start.
    pub post_start: Option<Vec<String>>,
    /// Command to run before the end.
    pub pre_stop: Option<Vec<String>>,
}

impl Runner {
    /// Runs until the container ends for good.
    pub async fn run(
        self,
        mut control: mpsc::Receiver<Control>,
        reports: mpsc::Sender<(String, Report)>,
    ) {
        let name = self.launch.name.clone();
        let report = |report| {
            let (name, reports) = (name.clone(), reports.clone());
            // The pod reads until its last container has finished; afterwards nobody listens.
            async move { drop(reports.send((name, report)).await) }
        };
        let mut attempt = 0_u32;
        let mut held = false;
        loop {
            if held && !wait_for_release(&mut control).await {
                break;
            }
            let started = Instant::now();
            let outcome = match self
                .launch
                .logged_command()
                .and_then(|mut command| command.spawn())
            {
                Ok(child) => self.watch(child, &mut control, &report).await,
                Err(error) => {
                    report(Report::Failed(format!(
                        "cannot start \"{}\": {error}",
                        self.launch.argv[0]
                    )))
                    .await;
                    Outcome::Exited(127)
                }
            };
            let code = match outcome {
                Outcome::Terminated(code) => {
                    report(Report::Exited(code)).await;
                    break;
                }
                Outcome::Held => {
                    report(Report::Exited(137)).await;
                    held = true;
                    attempt = 0;
                    continue;
                }
                Outcome::Exited(code) => code,
            };
            report(Report::Exited(code)).await;
            held = false;
            if self.restart == Restart::Never || (self.restart == Restart::OnFailure && code == 0) {
                break;
            }
            attempt = if started.elapsed() > BACKOFF_RESET {
                0
            } else {
                attempt + 1
            };
            match pause(&mut control, backoff(attempt)).await {
                Pause::Over => {}
                Pause::Hold => held = true,
                Pause::Terminate => break,
            }
        }
        report(Report::Finished).await;
    }

    /// Watches one process until it ends or is ended.
    async fn watch<F: Future<Output = ()>>(
        &self,
        mut child: Child,
        control: &mut mpsc::Receiver<Control>,
        report: &impl Fn(Report) -> F,
    ) -> Outcome {
        report(Report::Running).await;
        let mut health = self.probes.start(&self.launch);
        let group = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        let hook = async {
            if let Some(argv) = &self.post_start {
                let _ = run_hook(&self.launch, argv, Duration::from_secs(60)).await;
            }
        };
        tokio::pin!(hook);
        let (mut hook_over, mut probed, mut started) = (false, false, false);
        loop {
            if hook_over && probed && !started {
                started = true;
                report(Report::Started).await;
            }
            tokio::select! {
                status = child.wait() => {
                    // Children of a crashed process must not keep its ports.
                    signal(group, Signal::KILL);
                    return Outcome::Exited(code(status));
                }
                () = &mut hook, if !hook_over => hook_over = true,
                state = health.next() => match state {
                    Health::Started => probed = true,
                    Health::Ready(ready) => report(Report::Ready(ready)).await,
                    Health::Dead => {
                        let code = self.terminate(&mut child, group, self.probes.grace).await;
                        return Outcome::Exited(code);
                    }
                },
                order = control.recv() => match order {
                    Some(Control::Signal(which)) => signal(group, which),
                    Some(Control::Release) => {}
                    Some(Control::Hold) => {
                        signal(group, Signal::KILL);
                        let _ = child.wait().await;
                        return Outcome::Held;
                    }
                    Some(Control::Terminate(grace)) => {
                        report(Report::Ready(false)).await;
                        return Outcome::Terminated(self.terminate(&mut child, group, grace).await);
                    }
                    None => {
                        signal(group, Signal::KILL);
                        return Outcome::Terminated(code(child.wait().await));
                    }
                },
            }
        }
    }

    async fn terminate(&self, child: &mut Child, group: Option<Pid>, grace: Duration) -> i32 {
        let deadline = Instant::now() + grace;
        if let Some(argv) = &self.pre_stop {
            let _ = run_hook(&self.launch, argv, grace).await;
        }
        signal(group, Signal::TERM);
        tokio::select! {
            status = child.wait() => {
                signal(group, Signal::KILL);
                code(status)
            }
            () = sleep_until(deadline) => {
                signal(group, Signal::KILL);
                code(child.wait().await)
            }
        }
    }
}

enum Outcome {
    Exited(i32),
    Held,
    Terminated(i32),
}

enum Pause {
    Over,
    Hold,
    Terminate,
}

/// Waits before a restart, unless told otherwise.
async fn pause(control: &mut mpsc::Receiver<Control>, delay: Duration) -> Pause {
    let over = sleep(delay);
    tokio::pin!(over);
    loop {
        tokio::select! {
            () = &mut over => return Pause::Over,
            order = control.recv() => match order {
                Some(Control::Signal(_)) => {}
                Some(Control::Release) => return Pause::Over,
                Some(Control::Hold) => return Pause::Hold,
                Some(Control::Terminate(_)) | None => return Pause::Terminate,
            },
        }
    }
}

/// `false` if the container ends instead.
async fn wait_for_release(control: &mut mpsc::Receiver<Control>) -> bool {
    loop {
        match control.recv().await {
            Some(Control::Release) => return true,
            Some(Control::Signal(_) | Control::Hold) => {}
            Some(Control::Terminate(_)) | None => return false,
        }
    }
}

/// The first restart is immediate, as kubelet's is.
fn backoff(attempt: u32) -> Duration {
    match attempt {
        0 | 1 => Duration::ZERO,
        _ => (BACKOFF_BASE * 2_u32.saturating_pow(attempt.min(16) - 2)).min(BACKOFF_MAX),
    }
}

/// Runs a hook's command in the container's place.
async fn run_hook(launch: &Launch, argv: &[String], limit: Duration) -> std::io::Result<()> {
    let mut child = launch.with_argv(argv.to_vec()).logged_command()?.spawn()?;
    let _ = timeout(limit, child.wait()).await;
    Ok(())
}

fn signal(group: Option<Pid>, which: Signal) {
    if let Some(group) = group {
        // The group may be gone already.
        let _ = kill_process_group(group, which);
    }
}

fn code(status: std::io::Result<ExitStatus>) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.map_or(1, |status| {
        status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_immediate_and_later_ones_wait_longer() {
        let delays: Vec<_> = [1, 2, 3, 4, 20]
            .into_iter()
            .map(|attempt| backoff(attempt).as_millis())
            .collect();
        assert_eq!(delays, [0, 500, 1000, 2000, 30_000]);
    }
}
