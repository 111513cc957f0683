//! Looking up the names of STRICT_DNS and LOGICAL_DNS clusters, on the control thread.
//!
//! Each cluster has a task that looks its names up again and again and reports every change. A name that
//! cannot be looked up for the moment keeps its last addresses; one that does not exist has none.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{Resolver, TokioResolver};
use mesh_runtime::backoff::Backoff;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::config::cluster::{DnsAnswer, DnsFamily, DnsOptions, DnsTarget};

/// The tasks, one for each cluster with names.
#[derive(Debug)]
pub struct DnsResolvers {
    report: mpsc::Sender<DnsAnswer>,
    tasks: BTreeMap<Arc<str>, (DnsTarget, AbortOnDropHandle<()>)>,
}

impl DnsResolvers {
    /// No tasks; answers go to `report`.
    pub fn new(report: mpsc::Sender<DnsAnswer>) -> Self {
        Self {
            report,
            tasks: BTreeMap::new(),
        }
    }

    /// Looks up exactly these clusters' names from now on. Must run within a tokio runtime.
    pub fn follow(&mut self, targets: &[DnsTarget]) {
        self.tasks
            .retain(|_, (followed, _)| targets.contains(followed));
        for target in targets {
            if self.tasks.contains_key(&target.cluster) {
                continue;
            }
            let work = follow(target.clone(), self.report.clone());
            let task = AbortOnDropHandle::new(tokio::spawn(work));
            self.tasks
                .insert(target.cluster.clone(), (target.clone(), task));
        }
    }
}

async fn follow(target: DnsTarget, report: mpsc::Sender<DnsAnswer>) {
    let DnsTarget {
        cluster,
        options,
        hosts,
    } = target;
    let (base, max) = options.failure_refresh;
    let mut backoff = Backoff::new(base, max);
    let mut known: Option<HashMap<Box<str>, Vec<IpAddr>>> = None;
    let resolver = match resolver(&options) {
        Ok(resolver) => resolver,
        Err(error) => {
            tracing::error!(%cluster, %error, "no resolver: names stay without addresses");
            let _ = report
                .send(DnsAnswer {
                    cluster,
                    addresses: HashMap::new(),
                })
                .await;
            return;
        }
    };
    loop {
        let mut addresses = HashMap::new();
        let mut valid_until: Option<Instant> = None;
        let mut failed = false;
        for host in &hosts {
            match look_up(&resolver, host).await {
                Ok((found, until)) => {
                    valid_until = Some(valid_until.map_or(until, |earlier| earlier.min(until)));
                    addresses.insert(host.clone(), found);
                }
                Err(error) => {
                    tracing::debug!(%cluster, host, %error, "name not resolved");
                    failed = true;
                    let kept = known.as_ref().and_then(|known| known.get(host)).cloned();
                    addresses.insert(host.clone(), kept.unwrap_or_default());
                }
            }
        }
        if known.as_ref() != Some(&addresses) {
            known = Some(addresses.clone());
            let answer = DnsAnswer {
                cluster: cluster.clone(),
                addresses,
            };
            if report.send(answer).await.is_err() {
                return;
            }
        }
        let pause = match failed {
            true => backoff.next_delay(),
            false => {
                backoff.reset();
                next_look_up(&options, valid_until)
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// After the answer's time to live if that is respected, else after the configured time.
fn next_look_up(options: &DnsOptions, valid_until: Option<Instant>) -> Duration {
    /// Answers with a time to live of zero must not make us ask without a pause.
    const SHORTEST: Duration = Duration::from_secs(1);
    let pause = match valid_until.filter(|_| options.respect_ttl) {
        Some(until) => until
            .saturating_duration_since(Instant::now())
            .max(SHORTEST),
        None => options.refresh_rate,
    };
    pause + options.jitter.mul_f64(fastrand::f64())
}

/// A name that does not exist has no addresses; any other failure is one.
async fn look_up(resolver: &TokioResolver, host: &str) -> Result<(Vec<IpAddr>, Instant), NetError> {
    match resolver.lookup_ip(host).await {
        Ok(found) => Ok((found.iter().collect(), found.valid_until())),
        Err(error) if error.is_no_records_found() || error.is_nx_domain() => {
            Ok((Vec::new(), Instant::now()))
        }
        Err(error) => Err(error),
    }
}

fn resolver(options: &DnsOptions) -> Result<TokioResolver, NetError> {
    let mut builder = match options.resolvers.is_empty() {
        true => Resolver::builder_tokio()?,
        false => {
            let servers = options
                .resolvers
                .iter()
                .map(|address| name_server(*address));
            let config = ResolverConfig::from_name_servers(servers.collect());
            Resolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    let settings: &mut ResolverOpts = builder.options_mut();
    settings.ip_strategy = match options.family {
        DnsFamily::Auto => LookupIpStrategy::Ipv6thenIpv4,
        DnsFamily::V4Only => LookupIpStrategy::Ipv4Only,
        DnsFamily::V6Only => LookupIpStrategy::Ipv6Only,
        DnsFamily::V4Preferred => LookupIpStrategy::Ipv4thenIpv6,
        DnsFamily::All => LookupIpStrategy::Ipv4AndIpv6,
    };
    // Each look-up is meant to see the present answer.
    settings.cache_size = 0;
    builder.build()
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}
