//! Which endpoint gets a request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// `LoadBalancerSettings`.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadBalancer {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Locality preference; `None`: the mesh's.
    pub locality: Option<LocalityLbSetting>,
    /// Slow start.
    pub warmup: Option<Warmup>,
}

/// `simple` or `consistentHash`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// Two random choices, the less busy one (default; also LEAST_CONN and UNSPECIFIED).
    #[default]
    LeastRequest,
    /// In turn.
    RoundRobin,
    /// By chance.
    Random,
    /// Where the client wanted to go.
    Passthrough,
    /// By hash.
    ConsistentHash(ConsistentHash),
}

/// `ConsistentHashLB`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsistentHash {
    /// What is hashed.
    pub key: HashKey,
    /// How.
    pub algorithm: HashAlgorithm,
}

/// What is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// A header.
    Header(Arc<str>),
    /// A query parameter.
    QueryParameter(Arc<str>),
    /// The client's address.
    SourceIp,
    /// A cookie, made if it is absent.
    Cookie {
        /// Its name.
        name: Arc<str>,
        /// Its path.
        path: Option<Arc<str>>,
        /// Its life; `None` makes no cookie, zero makes a session cookie.
        ttl: Option<Duration>,
        /// Further attributes.
        attributes: Vec<(Arc<str>, Arc<str>)>,
    },
}

/// `ringHash` or `maglev`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HashAlgorithm {
    /// Ketama ring with at least this many points (default 1024).
    RingHash {
        /// Points.
        minimum_ring_size: u64,
    },
    /// Table of this prime size (default 65537).
    Maglev {
        /// Entries.
        table_size: u64,
    },
}

/// `LocalityLoadBalancerSetting`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalityLbSetting {
    /// In force.
    pub enabled: bool,
    /// What it says.
    pub rule: LocalityRule,
}

impl Default for LocalityLbSetting {
    fn default() -> Self {
        Self {
            enabled: true,
            rule: LocalityRule::Default,
        }
    }
}

/// `distribute`, `failover` or `failoverPriority`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LocalityRule {
    /// Nearest first.
    #[default]
    Default,
    /// Shares by locality of the client.
    Distribute(Vec<Distribute>),
    /// Region to region.
    Failover(Vec<(Arc<str>, Arc<str>)>),
    /// Labels in order of importance: key, and a value that replaces the client's own.
    FailoverPriority(Vec<(Arc<str>, Option<Arc<str>>)>),
}

/// One `distribute[]` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribute {
    /// Client locality, `*` at the end for any.
    pub from: Arc<str>,
    /// Shares by endpoint locality; they add up to 100.
    pub to: BTreeMap<Arc<str>, u32>,
}

/// `warmup`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Warmup {
    /// How long.
    pub duration: Duration,
    /// Share at the beginning, in per cent (default 10).
    pub minimum_percent: f64,
    /// Shape (default 1).
    pub aggression: f64,
}
