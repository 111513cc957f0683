//! One worker: a thread with its own runtime, listeners, upstream pools and counters.
//!
//! Everything here is `!Send` on purpose. Workers share nothing but the published configuration, which they
//! read through a cache, so that a request costs no write to memory that another worker reads.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use crate::executor::InForce;
use crate::http::filter::registry::Registry;
use crate::listener::accept;
use crate::listener::balance::{Balance, Handed};
use crate::listener::worker::ListeningWorker;
use crate::telemetry::WorkerTelemetry;
use crate::upstream::worker::Worker;

/// How often idle upstream connections are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Where the life of all workers stands. Only ever moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Serving.
    Serving,
    /// Connections are asked to finish. New ones are taken as well, because others may not know yet that we end, and
    /// are asked to finish after their first request.
    Draining,
    /// As before, but no new connections from outside.
    Closed,
    /// Ending now.
    Stopped,
}

/// What a worker thread is given.
#[derive(Debug)]
pub struct Seat {
    /// 0-based number of the worker.
    pub index: usize,
    /// What is in force.
    pub in_force: InForce,
    /// Counters and log buffers.
    pub telemetry: WorkerTelemetry,
    /// The HTTP filters that can be configured.
    pub filters: Registry,
    /// Connections per worker.
    pub balance: Arc<Balance>,
    /// Connections that other workers hand over.
    pub mailbox: mpsc::UnboundedReceiver<Handed>,
    /// Serving, draining, stopped.
    pub stage: watch::Receiver<Stage>,
    /// Tells the version of the configuration that the worker has followed.
    pub followed: watch::Sender<u64>,
    /// How long connections of a filter chain that is gone may take to finish (`--drain-time-s`).
    pub drain_time: Duration,
}

impl Seat {
    /// Starts the worker's thread.
    pub fn spawn(self) -> io::Result<JoinHandle<()>> {
        // Built here, so that a machine without descriptors fails the start and not the first request.
        let name = format!("worker-{}", self.index);
        std::thread::Builder::new().name(name).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build_local(tokio::runtime::LocalOptions::default());
            match runtime {
                Ok(runtime) => runtime.block_on(self.run()),
                Err(error) => tracing::error!(%error, "worker cannot start"),
            }
        })
    }

    /// The worker's own work besides connections: follows configuration and stage, receives connections.
    pub async fn run(mut self) {
        let runtime = &self.in_force.runtime;
        let telemetry = std::mem::take(&mut self.telemetry);
        let worker = Worker::new(self.index, runtime, telemetry);
        let worker = ListeningWorker::new(worker, self.filters.clone());
        let mut changes = runtime.changes();
        changes.mark_changed();
        let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                changed = self.stage.changed() => {
                    let stage = match changed {
                        Ok(()) => *self.stage.borrow_and_update(),
                        Err(_) => Stage::Stopped,
                    };
                    match stage {
                        Stage::Serving => {}
                        Stage::Draining => worker.listeners.drain(),
                        Stage::Closed => {
                            worker.listeners.stop_accepting();
                            worker.listeners.drain();
                        }
                        Stage::Stopped => {
                            worker.listeners.cut();
                            // Connections that are cut write their lines as they end.
                            tokio::task::yield_now().await;
                            return worker.telemetry.flush_logs();
                        }
                    }
                }
                Ok(()) = changes.changed() => {
                    let announced = *changes.borrow_and_update();
                    self.follow(&worker, announced);
                }
                Some(handed) = self.mailbox.recv() => accept::receive(&worker, handed),
                _ = sweep.tick() => {
                    worker.upstreams.sweep(&worker, &worker.view(), Instant::now());
                    worker.telemetry.upkeep();
                }
            }
        }
    }

    /// Takes over what is in force. That may be newer than what was announced, and partly stored yet: only the version
    /// that was announced is followed for certain.
    fn follow(&self, worker: &Rc<ListeningWorker>, announced: u64) {
        let view = worker.view();
        worker.upstreams.sweep(worker, &view, Instant::now());
        // A process that is going away begins nothing new.
        if *self.stage.borrow() == Stage::Serving {
            let listeners = self.in_force.listeners.load();
            worker
                .listeners
                .follow(worker, &self.balance, &listeners, self.drain_time);
        }
        self.followed.send_replace(announced);
    }
}
