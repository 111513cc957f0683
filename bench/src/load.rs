//! Load: closed loop for saturation, open loop for latency.
//!
//! In the open loop requests are due at fixed times, and latency counts from the time a request was due: a
//! proxy that stalls is charged for every request that had to wait (no coordinated omission).

mod h2c;
mod http1;
mod pacer;
pub mod tcp;

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use tokio::task::LocalSet;

use self::{h2c::H2c, http1::Http1, pacer::Pacer};

/// Latencies above are counted as this: a minute, in nanoseconds.
const LATENCY_MAX: u64 = 60_000_000_000;

/// How requests travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// One request at a time on each connection.
    Http1,
    /// All lanes are streams of one connection.
    H2c,
}

/// The outcome of a closed loop.
#[derive(Debug, Clone, Copy)]
pub struct Throughput {
    /// Answers.
    pub requests: u64,
    /// In this time.
    pub elapsed: Duration,
}

/// One lane: a connection, or a stream at a time of a shared one.
enum Lane {
    Http1(Http1),
    H2c(H2c),
}

impl Lane {
    async fn exchange(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Http1(lane) => lane.exchange().await,
            Self::H2c(lane) => lane.exchange().await,
        }
    }
}

/// Sends on `lanes` lanes as fast as answers come, for `length`.
pub fn closed_loop(
    address: SocketAddr,
    protocol: Protocol,
    lanes: usize,
    length: Duration,
) -> anyhow::Result<Throughput> {
    run(async {
        let lanes = connect(address, protocol, lanes).await?;
        let answered = Rc::new(Cell::new(0));
        let start = Instant::now();
        let workers = lanes.into_iter().map(|mut lane| {
            let answered = answered.clone();
            async move {
                while start.elapsed() < length {
                    lane.exchange().await?;
                    answered.set(answered.get() + 1);
                }
                Ok(())
            }
        });
        join(workers).await?;
        Ok(Throughput {
            requests: answered.get(),
            elapsed: start.elapsed(),
        })
    })
}

/// Sends `rate` requests for each second on `lanes` lanes, for `length`; latencies are in nanoseconds.
pub fn open_loop(
    address: SocketAddr,
    protocol: Protocol,
    lanes: usize,
    rate: f64,
    length: Duration,
) -> anyhow::Result<Histogram<u64>> {
    run(async {
        let lanes = connect(address, protocol, lanes).await?;
        let latencies = Histogram::new_with_max(LATENCY_MAX, 3)?;
        let latencies = Rc::new(RefCell::new(latencies));
        let pacer = Rc::new(Pacer::start(rate, length)?);
        let workers = lanes.into_iter().map(|mut lane| {
            let (latencies, pacer) = (latencies.clone(), pacer.clone());
            async move {
                while let Some(due) = pacer.next().await {
                    lane.exchange().await?;
                    let nanoseconds = due.elapsed().as_nanos() as u64;
                    latencies.borrow_mut().saturating_record(nanoseconds);
                }
                Ok(())
            }
        });
        let pacing = pacer.clone();
        tokio::task::spawn_local(async move { pacing.run().await });
        join(workers).await?;
        let latencies = latencies.borrow().clone();
        ensure!(!latencies.is_empty(), "no request was answered");
        Ok(latencies)
    })
}

/// Opens `count` connections, sends one request on each, and keeps them while `look` runs.
pub fn hold<T>(
    address: SocketAddr,
    count: usize,
    look: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    run(async {
        let mut held = Vec::with_capacity(count);
        for _ in 0..count {
            // At once: Envoy waits for the first bytes of a connection no longer than its listener filters may take.
            let mut lane = Http1::connect(address).await?;
            lane.exchange().await?;
            held.push(lane);
        }
        look()
    })
}

fn run<T>(load: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, load)
}

async fn connect(
    address: SocketAddr,
    protocol: Protocol,
    lanes: usize,
) -> anyhow::Result<Vec<Lane>> {
    let mut connected = Vec::with_capacity(lanes);
    let shared = match protocol {
        Protocol::Http1 => None,
        Protocol::H2c => Some(H2c::connect(address).await?),
    };
    for _ in 0..lanes {
        connected.push(match &shared {
            Some(h2c) => Lane::H2c(h2c.clone()),
            None => Lane::Http1(Http1::connect(address).await?),
        });
    }
    Ok(connected)
}

/// Runs all workers together and returns the first failure.
async fn join<W>(workers: impl Iterator<Item = W>) -> anyhow::Result<()>
where
    W: Future<Output = anyhow::Result<()>> + 'static,
{
    let tasks: Vec<_> = workers.map(tokio::task::spawn_local).collect();
    for task in tasks {
        task.await.context("a worker panicked")??;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::responder::{Speaks, start};

    #[test]
    fn a_closed_loop_counts_answers() {
        for (speaks, protocol) in [
            (Speaks::Http1, Protocol::Http1),
            (Speaks::H2c, Protocol::H2c),
        ] {
            let address = start(speaks).unwrap();
            let done = closed_loop(address, protocol, 4, Duration::from_millis(100)).unwrap();
            assert!(done.requests > 4, "{done:?}");
            assert!(done.elapsed >= Duration::from_millis(100));
        }
    }

    #[test]
    fn an_open_loop_sends_what_is_due() {
        let address = start(Speaks::Http1).unwrap();
        let length = Duration::from_millis(200);
        let latencies = open_loop(address, Protocol::Http1, 4, 500.0, length).unwrap();
        assert_eq!(latencies.len(), 100);
    }
}
