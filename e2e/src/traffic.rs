//! Requests: sent by `testapp client`, from a pod or from this machine through the ingress gateway.

use std::{cell::Cell, collections::BTreeMap, io::Read, process::Child, rc::Rc};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use crate::assert;

/// What came back; the same JSON as the client prints.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Report {
    /// Requests that were sent.
    pub sent: u64,
    /// Requests that were answered.
    pub answered: u64,
    /// Failures by text.
    pub errors: BTreeMap<String, u64>,
    /// Answers by status.
    pub statuses: BTreeMap<String, u64>,
    /// Answers by what they were grouped by.
    pub groups: BTreeMap<String, u64>,
    /// Bytes of all bodies.
    pub body_bytes: u64,
    /// Latencies.
    pub latency_us: Latency,
    /// How long it took.
    pub elapsed_ms: u64,
    /// The first answers.
    pub answers: Vec<Answer>,
    /// The first answer that was not a success.
    pub first_failure: Option<Answer>,
}

/// Latencies in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Latency {
    /// The shortest.
    pub min: u64,
    /// The median.
    pub p50: u64,
    /// 99 % were no longer.
    pub p99: u64,
    /// The longest.
    pub max: u64,
}

/// One answer.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Answer {
    /// The HTTP or gRPC status, or "ok".
    pub status: String,
    /// "HTTP/1.1", "HTTP/2.0", "gRPC", "TCP".
    pub protocol: String,
    /// Headers.
    pub headers: BTreeMap<String, String>,
    /// The first part of the body.
    pub body: String,
    /// The length of the body.
    pub body_bytes: u64,
    /// Trailers.
    pub trailers: BTreeMap<String, String>,
    /// Informational statuses before.
    pub informational: Vec<u16>,
    /// Messages on the stream.
    pub messages: u64,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.body).with_context(|| format!("not JSON: {}", self.body))
    }

    /// A header's value, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

impl Report {
    /// The first answer.
    pub fn first(&self) -> Result<&Answer> {
        let errors = &self.errors;
        self.answers
            .first()
            .with_context(|| format!("no answer: {errors:?}"))
    }
}

/// Starts a command somewhere: in a pod, or here.
pub type Launch<'a> = Box<dyn Fn(&[String]) -> Result<Child> + 'a>;

/// A run of the client to be.
pub struct Traffic<'a> {
    launch: Launch<'a>,
    sent: Rc<Cell<u64>>,
    args: Vec<String>,
}

impl<'a> Traffic<'a> {
    /// A run that `launch` starts and that adds its requests to `sent`.
    pub fn new(launch: Launch<'a>, sent: Rc<Cell<u64>>, target: [&str; 2]) -> Self {
        let args = target.map(str::to_owned).to_vec();
        Self { launch, sent, args }
    }

    /// Adds a flag.
    pub fn flag(mut self, flag: &str) -> Self {
        self.args.push(flag.to_owned());
        self
    }

    /// Adds a flag with its value.
    pub fn with(mut self, flag: &str, value: impl ToString) -> Self {
        self.args.extend([flag.to_owned(), value.to_string()]);
        self
    }

    /// Sends so many requests.
    pub fn count(self, count: u64) -> Self {
        self.with("--count", count)
    }

    /// So many at a time.
    pub fn concurrency(self, concurrency: u64) -> Self {
        self.with("--concurrency", concurrency)
    }

    /// With a header.
    pub fn header(self, field: &str) -> Self {
        self.with("--header", field)
    }

    /// Counts answers by a part of them.
    pub fn group_by(self, part: &str) -> Self {
        self.with("--group-by", part)
    }

    /// Each request on a connection of its own.
    pub fn new_connections(self) -> Self {
        self.flag("--no-keepalive")
    }

    /// Sends and waits for the report.
    pub fn send(self) -> Result<Report> {
        self.start()?.report()
    }

    /// Starts sending.
    pub fn start(self) -> Result<Running> {
        let child = (self.launch)(&self.args)?;
        Ok(Running {
            child,
            sent: self.sent,
        })
    }
}

/// A client that is sending; it is ended when dropped.
pub struct Running {
    child: Child,
    sent: Rc<Cell<u64>>,
}

impl Running {
    /// Waits for its end and reads its report.
    pub fn report(mut self) -> Result<Report> {
        let (mut out, mut errors) = (String::new(), String::new());
        if let Some(mut pipe) = self.child.stdout.take() {
            pipe.read_to_string(&mut out)?;
        }
        if let Some(mut pipe) = self.child.stderr.take() {
            pipe.read_to_string(&mut errors)?;
        }
        let status = self.child.wait()?;
        ensure!(
            status.success(),
            "the client ended with {status}: {errors}{out}"
        );
        let report: Report = serde_json::from_str(out.trim())
            .with_context(|| format!("the client's report cannot be read: {out}{errors}"))?;
        self.sent.set(self.sent.get() + report.sent);
        Ok(report)
    }

    /// Tells it to stop sending and reads its report.
    pub fn finish(self) -> Result<Report> {
        // A client that has ended on its own has its report ready.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        self.report()
    }

    /// Makes `change` while it is sending, tells it to stop, and asks that it sent until then and that every request was
    /// answered with 200.
    pub fn during(mut self, change: impl FnOnce() -> Result<()>) -> Result<Report> {
        let changed = change();
        let lasted = matches!(self.child.try_wait(), Ok(None));
        let report = self.finish()?;
        changed?;
        ensure!(lasted, "the load ended before the change");
        assert::all(&report, "200")?;
        Ok(report)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
