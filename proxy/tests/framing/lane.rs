//! A lane: one origin with its clusters, in which one sequence is played at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;

use super::check::{self, Fault};
use super::client::{self, Seen};
use super::contender::Ports;
use super::origin::{Connection, Origin};
use super::script::{Exchange, Protocol, Script, Upstream};
use super::wire::Named;

/// Longer than anything takes that ends.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// One origin, and how clients get to it.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) number: usize,
    pub(crate) origin: Origin,
    played: AtomicUsize,
}

/// What happened in a sequence.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) parallel: bool,
    pub(crate) exchanges: Vec<Arc<Named>>,
    /// What clients saw, by exchange.
    pub(crate) seen: Vec<Seen>,
    pub(crate) connections: Vec<Connection>,
}

impl Lane {
    pub(crate) async fn start(number: usize) -> Self {
        Self {
            number,
            origin: Origin::start().await,
            played: AtomicUsize::new(0),
        }
    }

    /// The authority of requests to this lane.
    pub(crate) fn host(number: usize, upstream: Upstream) -> String {
        match upstream {
            Upstream::Http1 => format!("lane{number}.http1.test"),
            Upstream::Http2 => format!("lane{number}.http2.test"),
        }
    }

    /// Plays a script and judges it.
    pub(crate) async fn play(&self, ports: Ports, script: &Script) -> Vec<Fault> {
        let exchanges = self.name(script);
        self.origin.expect(&exchanges);
        let mut rest = &exchanges[..];
        let visits = script.visits.iter().map(|visit| {
            let (own, others) = rest.split_at(visit.exchanges.len());
            rest = others;
            let port = match visit.protocol {
                Protocol::Http1Only => ports.http1,
                Protocol::Http1 | Protocol::Http2 => ports.auto,
            };
            client::play(([127, 0, 0, 1], port).into(), visit, own)
        });
        let visits: Vec<_> = visits.collect();
        let mut seen = Vec::new();
        if script.parallel {
            seen.extend(join_all(visits).await.into_iter().flatten());
        } else {
            for visit in visits {
                seen.extend(visit.await);
            }
        }
        let connections = self.origin.finish().await;
        let record = Record {
            parallel: script.parallel,
            exchanges,
            seen,
            connections,
        };
        check::check(&record, &self.origin)
    }

    fn name(&self, script: &Script) -> Vec<Arc<Named>> {
        let played = self.played.fetch_add(1, Ordering::Relaxed);
        let places = script.visits.iter().flat_map(|visit| {
            let exchanges = visit.exchanges.iter().enumerate();
            let alone = !visit.burst || visit.protocol != Protocol::Http2;
            exchanges.map(move |(place, exchange)| (place == 0 && alone, exchange))
        });
        let name = |(index, (first, exchange)): (usize, (bool, &Exchange))| {
            Arc::new(Named {
                name: format!("{}.{played}.{index}", self.number),
                host: Self::host(self.number, exchange.upstream),
                first,
                exchange: exchange.clone(),
            })
        };
        places.enumerate().map(name).collect()
    }
}
