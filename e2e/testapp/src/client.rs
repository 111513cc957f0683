//! `client`: sends a bounded number of requests and prints one JSON report.
//!
//! One loop serves every protocol: workers take the next number, wait for its time if a rate is asked for,
//! exchange, and note the outcome. With a rate, latency counts from the time a request was due, not from the
//! time it could be sent, so that a stalled server cannot hide its stall.

mod group;
mod grpc_exchange;
mod http_connection;
mod http_exchange;
mod report;
mod tcp_exchange;
mod tls;
mod ws_exchange;

use std::{
    collections::BTreeMap,
    num::NonZeroU64,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;
use tokio::{task::JoinSet, time::Instant};

pub use self::report::{Answer, Latency, Report};
use self::{
    group::Group, grpc_exchange::GrpcExchange, http_exchange::HttpExchange, report::Recorder,
    tcp_exchange::TcpExchange, ws_exchange::WsExchange,
};
use crate::{grpc::Method, serve};

/// What to send, how often, and what to report.
#[derive(Debug, Clone, Args)]
pub struct ClientArgs {
    /// Send requests to this URL.
    #[arg(long, required_unless_present = "tcp")]
    pub url: Option<String>,
    /// Exchange bytes with HOST:PORT instead.
    #[arg(long, conflicts_with = "url")]
    pub tcp: Option<String>,
    /// How many requests to send; with a rate and a duration, the product of both.
    #[arg(short = 'n', long)]
    pub count: Option<NonZeroU64>,
    /// How many may be in flight.
    #[arg(short, long, default_value_t = 1)]
    pub concurrency: usize,
    /// Requests for each second; as fast as answers come where absent.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Stop after so many seconds.
    #[arg(long)]
    pub duration: Option<f64>,
    /// A header, "name: value".
    #[arg(short = 'H', long = "header")]
    pub headers: Vec<String>,
    /// A request trailer, "name: value"; the body is then sent in chunks.
    #[arg(long)]
    pub trailer: Option<String>,
    /// The method.
    #[arg(short = 'X', long, default_value = "GET")]
    pub method: String,
    /// The body; for TCP, WebSocket and gRPC the message.
    #[arg(short = 'd', long)]
    pub body: Option<String>,
    /// Send a body of so many bytes.
    #[arg(long)]
    pub upload: Option<u64>,
    /// Speak HTTP/1.0.
    #[arg(long, conflicts_with = "http2")]
    pub http1_0: bool,
    /// Speak HTTP/2 from the first byte.
    #[arg(long)]
    pub http2: bool,
    /// Call this method of the echo service.
    #[arg(long, value_enum, conflicts_with = "ws")]
    pub grpc: Option<Method>,
    /// The gRPC status to ask for.
    #[arg(long, default_value_t = 0)]
    pub grpc_status: i32,
    /// Upgrade to a WebSocket.
    #[arg(long)]
    pub ws: bool,
    /// Messages on each stream or connection.
    #[arg(long, default_value_t = 1)]
    pub messages: u32,
    /// TCP: read a greeting before sending.
    #[arg(long)]
    pub server_first: bool,
    /// Use a new connection for each request.
    #[arg(long)]
    pub no_keepalive: bool,
    /// Connect to HOST:PORT, whatever the URL says.
    #[arg(long)]
    pub connect: Option<String>,
    /// Trust only these roots, in PEM, and ask for the name in the URL; any certificate will do where absent.
    #[arg(long, allow_hyphen_values = true)]
    pub trust: Option<String>,
    /// Show this certificate, a chain with its key in PEM.
    #[arg(long, allow_hyphen_values = true)]
    pub identity: Option<String>,
    /// Seconds that one exchange may take.
    #[arg(long, default_value_t = 15.0)]
    pub timeout: f64,
    /// Count answers by: `header:NAME`, `json:/POINTER`, `body:REGEX` (its first group) or `line` (first word).
    #[arg(long)]
    pub group_by: Option<Group>,
    /// Report the first N answers in full.
    #[arg(long, default_value_t = 1)]
    pub keep: usize,
}

/// Why there is no answer; the text is the key it is counted under.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

impl Failure {
    /// A failure at `step`, with the chain of causes.
    fn at(step: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut text = format!("{step}: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        Self(text)
    }
}

/// One worker's way to exchange, with the connection that it keeps.
enum Exchange {
    Http(HttpExchange),
    Grpc(GrpcExchange),
    Ws(WsExchange),
    Tcp(TcpExchange),
}

impl Exchange {
    fn new(args: &Arc<ClientArgs>) -> anyhow::Result<Self> {
        Ok(match (&args.url, &args.tcp) {
            (None, Some(address)) => Self::Tcp(TcpExchange::new(args, address)),
            (Some(url), None) if args.ws => Self::Ws(WsExchange::new(args, url)?),
            (Some(url), None) => match args.grpc {
                Some(method) => Self::Grpc(GrpcExchange::new(args, url, method)?),
                None => Self::Http(HttpExchange::new(args, url)?),
            },
            _ => bail!("one of --url and --tcp is needed"),
        })
    }

    async fn once(&mut self) -> Result<Answer, Failure> {
        match self {
            Self::Http(exchange) => exchange.once().await,
            Self::Grpc(exchange) => exchange.once().await,
            Self::Ws(exchange) => exchange.once().await,
            Self::Tcp(exchange) => exchange.once().await,
        }
    }
}

/// Runs and prints the report on standard output; a signal ends the run, not the report.
pub async fn print(args: Box<ClientArgs>) -> anyhow::Result<()> {
    use std::io::Write;
    let stop = Arc::new(AtomicBool::new(false));
    let signal = serve::end_signal()?;
    let stopping = stop.clone();
    tokio::spawn(async move {
        signal.await;
        stopping.store(true, Ordering::Relaxed);
    });
    let report = run(*args, stop).await?;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &report)?;
    writeln!(out).context("cannot print the report")
}

/// Sends everything that `args` asks for, or until `stop` is set.
pub async fn run(args: ClientArgs, stop: Arc<AtomicBool>) -> anyhow::Result<Report> {
    let args = Arc::new(args);
    let plan = Arc::new(Plan::new(&args, stop));
    let recorder = Arc::new(Mutex::new(Recorder::new(args.keep, args.group_by.clone())));
    let mut workers = JoinSet::new();
    let workers_wanted = (args.concurrency as u64).clamp(1, plan.count);
    for _ in 0..workers_wanted {
        let exchange = Exchange::new(&args)?;
        workers.spawn(work(exchange, plan.clone(), recorder.clone()));
    }
    while let Some(ended) = workers.join_next().await {
        ended.context("a worker panicked")?;
    }
    let recorder = Arc::into_inner(recorder).expect("all workers have ended");
    let recorder = recorder
        .into_inner()
        .expect("no holder of this lock panics");
    Ok(recorder.into_report(plan.start.elapsed()))
}

async fn work(mut exchange: Exchange, plan: Arc<Plan>, recorder: Arc<Mutex<Recorder>>) {
    while let Some(due) = plan.next().await {
        let outcome = match tokio::time::timeout(plan.timeout, exchange.once()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure("timeout".to_owned())),
        };
        let latency = due.elapsed();
        let mut recorder = recorder.lock().expect("no holder of this lock panics");
        recorder.record(outcome, latency);
    }
}

/// Which requests are left and when they are due.
struct Plan {
    count: u64,
    interval: Option<Duration>,
    deadline: Option<Instant>,
    timeout: Duration,
    start: Instant,
    taken: AtomicU64,
    stop: Arc<AtomicBool>,
}

impl Plan {
    fn new(args: &ClientArgs, stop: Arc<AtomicBool>) -> Self {
        let start = Instant::now();
        let count = match (args.count, args.rate, args.duration) {
            (Some(count), _, _) => count.get(),
            (None, Some(rate), Some(duration)) => (rate * duration).ceil().max(1.0) as u64,
            (None, None, Some(_)) => u64::MAX,
            (None, _, None) => 1,
        };
        Self {
            count,
            interval: args.rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
            deadline: args
                .duration
                .map(|seconds| start + Duration::from_secs_f64(seconds)),
            timeout: Duration::from_secs_f64(args.timeout),
            start,
            taken: AtomicU64::new(0),
            stop,
        }
    }

    /// Waits until the next request is due; none when all are taken or the time is over.
    async fn next(&self) -> Option<Instant> {
        let index = self.taken.fetch_add(1, Ordering::Relaxed);
        if index >= self.count || self.stop.load(Ordering::Relaxed) {
            return None;
        }
        let due = match self.interval {
            Some(interval) => self.start + interval.mul_f64(index as f64),
            None => Instant::now(),
        };
        if self.deadline.is_some_and(|deadline| due >= deadline) {
            return None;
        }
        tokio::time::sleep_until(due).await;
        Some(due)
    }
}

/// Splits "name: value".
fn name_and_value(field: &str) -> anyhow::Result<(http::HeaderName, http::HeaderValue)> {
    let parsed = field
        .split_once(':')
        .and_then(|(name, value)| Some((name.trim().parse().ok()?, value.trim().parse().ok()?)));
    parsed.with_context(|| format!("not a \"name: value\" field: \"{field}\""))
}

/// Counts by key.
type Tally = BTreeMap<String, u64>;
