//! Admission reviews, within bounds: any caller may send any of them, and they must not hold up anything else.
//!
//! | bound | by |
//! |---|---|
//! | size, time and memory of bodies | here, while the body comes in |
//! | time and memory of responses | here, until they are sent |
//! | threads and what waits for them | [`Pool`] |
//! | values in a body | here, before it is parsed |
//! | CPU time of one review | [`cpu_budget`], asked by the code that reviews |
//! | time until the response | here, from the caller's own timeout |
//!
//! Everything that is done with a body, from parsing to the encoded response, runs on the pool. A review that cannot
//! be done here and now gets a status other than 200: to an API server the webhook has failed then, and it does what
//! the `failurePolicy` of its configuration says. That is decided there and not here, since only the API server knows
//! the policy in force. An object that costs more than one review may is not such a case: the code that reviews
//! refuses it.

pub mod metrics;

mod response;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tokio::time::Instant;

use crate::cpu_budget;
use crate::ledger::{Ledger, Loan};
use crate::metrics::Registry;
use crate::pool::{Pool, Refused};
use metrics::{Metrics, Outcome};

/// Threads. An honest review takes less than a millisecond, so two do thousands a second; one that takes long leaves
/// the other.
pub const THREADS: usize = 2;

/// Reviews that wait: a storm of starting pods comes from one API server. Their memory is bounded by itself, and who
/// waits too long meets a deadline.
pub const QUEUE_MAX: usize = 256;

/// Largest accepted review: etcd's limit for an object (1.5 MiB), twice (new and old), with room for the envelope.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bodies that have come in and are not reviewed yet, and responses that are not sent yet, all together.
const BODIES_BYTES_MAX: usize = 16 * BODY_BYTES_MAX;

/// Of these, those of one address.
const CALLER_BYTES_MAX: usize = BODIES_BYTES_MAX / 2;

/// Values in a body. A parsed value takes some hundred bytes and the shortest is two bytes of text, so without this a
/// body would become hundreds of times as large; objects that etcd takes have at least three bytes for each.
const VALUES_MAX: usize = 500_000;

/// CPU time of one review.
const CPU_TIME_MAX: Duration = Duration::from_millis(500);

/// What the API server waits for where `timeoutSeconds` says nothing.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The part of the caller's timeout after which it gets an error, so that it learns the reason.
const DEADLINE_PART: f64 = 0.9;

/// Reviews on threads of their own.
#[derive(Clone, Debug)]
pub struct Reviews {
    pool: Pool,
    bodies: Ledger,
    metrics: Metrics,
}

/// Who waits for a review, and how long.
#[derive(Clone, Copy)]
struct Caller {
    address: IpAddr,
    deadline: Instant,
}

impl Reviews {
    /// Starts the threads, and registers everything under `weft_webhook_`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(registry: &mut Registry) -> std::io::Result<Self> {
        let pool = Pool::background("review", THREADS, QUEUE_MAX)?;
        let metrics = Metrics::default();
        let registry = registry.sub_registry_with_prefix("weft_webhook");
        pool.register(registry);
        metrics.register(registry);
        Ok(Self {
            pool,
            bodies: Ledger::new(BODIES_BYTES_MAX, CALLER_BYTES_MAX),
            metrics,
        })
    }

    /// The threads.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Reads the request's body and answers with what `review` makes of it on the pool, or with an error status.
    ///
    /// `webhook` names the series of the metrics. The address of the caller is the request's extension of type
    /// [`SocketAddr`]; requests without it count as those of one caller.
    pub async fn answer<F>(&self, webhook: &'static str, request: Request, review: F) -> Response
    where
        F: FnOnce(&[u8]) -> Response + Send + 'static,
    {
        let address = request.extensions().get::<SocketAddr>();
        let caller = Caller {
            address: address.map_or(Ipv4Addr::UNSPECIFIED.into(), SocketAddr::ip),
            deadline: Instant::now() + deadline(request.uri()),
        };
        let started = Instant::now();
        let response = self.review(webhook, caller, request.into_body(), review);
        let (response, outcome) = match response.await {
            Ok(response) => (response, Outcome::Answered),
            Err(outcome) => (refusal(outcome), outcome),
        };
        self.metrics.ended(webhook, outcome, started.elapsed());
        response
    }

    async fn review<F>(
        &self,
        webhook: &'static str,
        caller: Caller,
        body: Body,
        review: F,
    ) -> Result<Response, Outcome>
    where
        F: FnOnce(&[u8]) -> Response + Send + 'static,
    {
        let loan = self.bodies.open(caller.address);
        let reading = tokio::time::timeout_at(caller.deadline, read(body, loan));
        let (body, loan) = reading.await.unwrap_or(Err(Outcome::SlowBody))?;
        let metrics = self.metrics.clone();
        let work = move || {
            let before = cpu_budget::used();
            let response = cpu_budget::within(CPU_TIME_MAX, || match too_many_values(&body) {
                true => Err(Outcome::TooLarge),
                false => Ok(review(&body)),
            });
            metrics.used(webhook, cpu_budget::used() - before);
            drop((body, loan));
            response
        };
        let done = self.pool.run(caller.address, caller.deadline, work);
        let response = done.await.map_err(|refused| match refused {
            Refused::Full => Outcome::QueueFull,
            Refused::Late => Outcome::Late,
            Refused::Panicked => Outcome::Failed,
        })??;
        self.lend(caller, response).await
    }

    /// The response under the memory of its caller.
    async fn lend(&self, caller: Caller, response: Response) -> Result<Response, Outcome> {
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|_| Outcome::Failed)?;
        let body = body.to_bytes();
        let mut loan = self.bodies.open(caller.address);
        match loan.grow(body.len()) {
            true => Ok(Response::from_parts(head, response::lent(body, loan))),
            false => Err(Outcome::NoMemory),
        }
    }
}

async fn read(mut body: Body, mut loan: Loan) -> Result<(Bytes, Loan), Outcome> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Outcome::BrokenBody)?;
        // Trailers have no meaning here.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if read.len() + data.len() > BODY_BYTES_MAX {
            return Err(Outcome::TooLarge);
        }
        if !loan.grow(data.len()) {
            return Err(Outcome::NoMemory);
        }
        read.extend_from_slice(&data);
    }
    Ok((read.freeze(), loan))
}

/// How long the caller waits, less what it takes to tell it: the API server says `?timeout=10s`.
fn deadline(uri: &Uri) -> Duration {
    let pairs = uri.query().unwrap_or_default().split('&');
    let timeout = pairs
        .filter_map(|pair| pair.strip_prefix("timeout="))
        .next();
    let seconds = timeout
        .and_then(|timeout| timeout.strip_suffix('s'))
        .and_then(|seconds| seconds.parse::<u16>().ok());
    let timeout = seconds.map_or(TIMEOUT, |seconds| Duration::from_secs(seconds.into()));
    timeout.min(TIMEOUT).mul_f64(DEADLINE_PART)
}

/// Whether JSON has more than [`VALUES_MAX`] values: each but the first is preceded by one of these signs.
fn too_many_values(json: &[u8]) -> bool {
    let mut values = 0;
    let mut in_string = false;
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => {
                bytes.next();
            }
            b',' | b':' | b'[' | b'{' if !in_string => values += 1,
            _ => {}
        }
    }
    values > VALUES_MAX
}

fn refusal(outcome: Outcome) -> Response {
    let status = outcome.status();
    let mut response = (status, format!("{outcome}\n")).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        // An API server tries again within its timeout, unless there is no such header.
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}

#[cfg(test)]
mod tests;
