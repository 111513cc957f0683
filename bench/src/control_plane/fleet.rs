//! All simulated sidecars, and when what was expected has reached each of them.

use std::{
    cell::RefCell,
    collections::HashMap,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use memchr::memmem::Finder;
use prost::Message as _;
use tokio::{task::JoinSet, time};

use super::{
    args::Size,
    mesh::Pod,
    proxy::Proxy,
    wire::{DeltaResponse, TypeUrl},
};

const POLL_INTERVAL: Duration = Duration::from_millis(5);
const RECONNECT_AFTER: Duration = Duration::from_millis(500);
const ATTEMPTS_MAX: u32 = 10;

/// What all sidecars note.
#[derive(Debug)]
pub(super) struct Fleet {
    names: HashMap<(TypeUrl, Box<str>), u32>,
    configured: Vec<Option<Instant>>,
    change: Option<Change>,
    bytes: u64,
    broken: u32,
}

/// A change on its way.
#[derive(Debug)]
struct Change {
    marker: Finder<'static>,
    arrived: Vec<Option<Instant>>,
}

/// When half of the sidecars, and when the last one, had something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrivals {
    /// Half of them.
    pub(super) half: Instant,
    /// All of them.
    pub(super) last: Instant,
}

impl Fleet {
    fn new(size: usize) -> Self {
        Self {
            names: HashMap::new(),
            configured: vec![None; size],
            change: None,
            bytes: 0,
            broken: 0,
        }
    }

    /// A number for a name; all sidecars together keep each name once.
    pub(super) fn id(&mut self, of: TypeUrl, name: &str) -> u32 {
        let next = self.names.len() as u32;
        *self.names.entry((of, name.into())).or_insert(next)
    }

    /// A sidecar has received a response.
    pub(super) fn received(&mut self, index: usize, response: &DeltaResponse, now: Instant) {
        self.bytes += response.encoded_len() as u64;
        let Some(change) = &mut self.change else {
            return;
        };
        let mut bodies = response.resources.iter().filter_map(|r| r.body.as_ref());
        if change.arrived[index].is_none()
            && bodies.any(|body| change.marker.find(&body.value).is_some())
        {
            change.arrived[index] = Some(now);
        }
    }

    /// A sidecar has all that it has asked for.
    pub(super) fn configured(&mut self, index: usize, now: Instant) {
        self.configured[index].get_or_insert(now);
    }
}

/// The running sidecars. They end when this is dropped.
pub(super) struct Sidecars {
    fleet: Rc<RefCell<Fleet>>,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Sidecars {
    /// Connects them all at once.
    pub(super) fn connect(size: Size, address: SocketAddr) -> Self {
        let fleet = Rc::new(RefCell::new(Fleet::new(size.proxies as usize)));
        let mut tasks = JoinSet::new();
        for (index, pod) in size.proxies().enumerate() {
            tasks.spawn_local(stay_connected(address, pod, index, fleet.clone()));
        }
        Self { fleet, tasks }
    }

    /// Waits until each has all that it has asked for.
    pub(super) async fn all_configured(&mut self, patience: Duration) -> anyhow::Result<Arrivals> {
        self.wait_for(patience, |fleet| Some(&fleet.configured))
            .await
    }

    /// From now on a resource with `marker` in it is waited for.
    pub(super) fn expect(&self, marker: &str) {
        let mut fleet = self.fleet.borrow_mut();
        fleet.bytes = 0;
        fleet.change = Some(Change {
            marker: Finder::new(marker).into_owned(),
            arrived: vec![None; fleet.configured.len()],
        });
    }

    /// Waits until what was expected has reached all.
    pub(super) async fn all_changed(&mut self, patience: Duration) -> anyhow::Result<Arrivals> {
        self.wait_for(patience, |fleet| Some(&fleet.change.as_ref()?.arrived))
            .await
    }

    /// Streams that have ended and were opened again.
    pub(super) fn broken(&self) -> u32 {
        self.fleet.borrow().broken
    }

    /// Bytes that each has received since something was expected, on average.
    pub(super) fn bytes_each(&self) -> f64 {
        let fleet = self.fleet.borrow();
        fleet.bytes as f64 / fleet.configured.len() as f64
    }

    async fn wait_for(
        &mut self,
        patience: Duration,
        times: impl Fn(&Fleet) -> Option<&Vec<Option<Instant>>>,
    ) -> anyhow::Result<Arrivals> {
        let start = Instant::now();
        loop {
            let arrivals = times(&self.fleet.borrow()).and_then(|times| arrivals(times));
            if let Some(arrivals) = arrivals {
                return Ok(arrivals);
            }
            if start.elapsed() > patience {
                let fleet = self.fleet.borrow();
                let times = times(&fleet).into_iter().flatten();
                let there = times.filter(|time| time.is_some()).count();
                let all = fleet.configured.len();
                bail!("after {patience:?} it has reached {there} of {all} sidecars");
            }
            tokio::select! {
                Some(ended) = self.tasks.join_next() => ended??,
                () = time::sleep(POLL_INTERVAL) => {}
            }
        }
    }
}

/// As a proxy does, comes again when the stream breaks: a control plane under load may close connections.
async fn stay_connected(
    address: SocketAddr,
    pod: Pod,
    index: usize,
    fleet: Rc<RefCell<Fleet>>,
) -> anyhow::Result<()> {
    let mut attempts = 0;
    loop {
        let stream = async {
            let proxy = Proxy::connect(address, &pod, index, fleet.clone()).await?;
            proxy.run().await
        };
        let ended = stream.await;
        attempts += 1;
        if attempts == ATTEMPTS_MAX {
            return ended.with_context(|| format!("the stream of {}", pod.name()));
        }
        fleet.borrow_mut().broken += 1;
        time::sleep(RECONNECT_AFTER).await;
    }
}

/// None before all are there.
fn arrivals(times: &[Option<Instant>]) -> Option<Arrivals> {
    let mut times: Vec<_> = times.iter().copied().collect::<Option<_>>()?;
    times.sort();
    Some(Arrivals {
        half: *times.get(times.len().div_ceil(2).checked_sub(1)?)?,
        last: *times.last()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_plane::wire::{Any, ENDPOINT, ROUTE, Resource};

    fn response(body: &'static str) -> DeltaResponse {
        let body = Any {
            value: body.as_bytes().into(),
        };
        let resource = Resource {
            body: Some(body),
            name: "a".into(),
        };
        DeltaResponse {
            resources: vec![resource],
            ..DeltaResponse::default()
        }
    }

    #[test]
    fn half_of_the_sidecars_is_known_when_the_last_one_is() {
        let start = Instant::now();
        let at = |ms: u64| Some(start + Duration::from_millis(ms));
        assert_eq!(arrivals(&[at(1), None]), None);
        assert_eq!(arrivals(&[]), None);
        let expected = |half: Option<Instant>, last: Option<Instant>| {
            Some(Arrivals {
                half: half?,
                last: last?,
            })
        };
        assert_eq!(
            arrivals(&[at(7), at(1), at(2), at(9)]),
            expected(at(2), at(9))
        );
        assert_eq!(arrivals(&[at(7)]), expected(at(7), at(7)));
    }

    #[test]
    fn a_change_arrives_with_its_marker_and_once() {
        let (start, mut fleet) = (Instant::now(), Fleet::new(2));
        fleet.change = Some(Change {
            marker: Finder::new("10.255.0.1").into_owned(),
            arrived: vec![None; 2],
        });
        let later = start + Duration::from_secs(1);
        fleet.received(1, &response("x 10.255.0.2"), start);
        fleet.received(1, &response("x 10.255.0.1"), start);
        fleet.received(1, &response("x 10.255.0.1"), later);
        assert_eq!(fleet.change.unwrap().arrived, [None, Some(start)]);
        assert_eq!(
            fleet.bytes,
            3 * response("x 10.255.0.1").encoded_len() as u64
        );
    }

    #[test]
    fn names_of_different_types_are_different() {
        let mut fleet = Fleet::new(1);
        let ids = [(ENDPOINT, "80"), (ROUTE, "80"), (ENDPOINT, "80")];
        assert_eq!(ids.map(|(of, name)| fleet.id(of, name)), [0, 1, 0]);
    }
}
