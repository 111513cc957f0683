//! How reviews end, how long they take, and how much CPU time.

use std::fmt;
use std::time::Duration;

use axum::http::StatusCode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use crate::metrics::Registry;

/// Upper bounds in seconds: an honest review takes less than a millisecond, a deadline is nine seconds.
const BUCKETS: [f64; 8] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0];

/// How a review ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// With the webhook's own response.
    Answered,
    /// No place in the queue.
    QueueFull,
    /// Not done by the caller's deadline.
    Late,
    /// The body was not there by the caller's deadline.
    SlowBody,
    /// The body is longer than any, or has more values.
    TooLarge,
    /// The body ended before its end.
    BrokenBody,
    /// Too many bodies at once.
    NoMemory,
    /// The code that reviews failed.
    Failed,
}

impl Outcome {
    /// The status that the caller gets.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Answered => StatusCode::OK,
            Self::QueueFull | Self::NoMemory => StatusCode::SERVICE_UNAVAILABLE,
            Self::Late => StatusCode::GATEWAY_TIMEOUT,
            Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BrokenBody => StatusCode::BAD_REQUEST,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::QueueFull => "queue_full",
            Self::Late => "deadline",
            Self::SlowBody => "slow_body",
            Self::TooLarge => "too_large",
            Self::BrokenBody => "broken_body",
            Self::NoMemory => "memory",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answered => "the review was answered",
            Self::QueueFull => "too many reviews are waiting",
            Self::Late => "the review was not done in time",
            Self::SlowBody => "the body did not come in time",
            Self::TooLarge => "the review is larger than any object that can be stored",
            Self::BrokenBody => "the body is not complete",
            Self::NoMemory => "too many bytes of reviews are waiting",
            Self::Failed => "the review failed",
        })
    }
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        EncodeLabelValue::encode(&self.label(), encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookLabels {
    webhook: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    webhook: &'static str,
    outcome: Outcome,
}

/// Counters of all webhooks.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    reviews: Family<OutcomeLabels, Counter>,
    seconds: Family<WebhookLabels, Histogram>,
    cpu_seconds: Family<WebhookLabels, Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        let histograms = || Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> _);
        Self {
            reviews: Family::default(),
            seconds: histograms(),
            cpu_seconds: histograms(),
        }
    }
}

impl Metrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "reviews",
            "Reviews, by how they ended",
            self.reviews.clone(),
        );
        registry.register(
            "review_seconds",
            "Time from the head of a request to its response",
            self.seconds.clone(),
        );
        registry.register(
            "review_cpu_seconds",
            "CPU time of a review",
            self.cpu_seconds.clone(),
        );
    }

    pub(super) fn ended(&self, webhook: &'static str, outcome: Outcome, time: Duration) {
        let labels = OutcomeLabels { webhook, outcome };
        self.reviews.get_or_create(&labels).inc();
        let seconds = self.seconds.get_or_create(&WebhookLabels { webhook });
        seconds.observe(time.as_secs_f64());
    }

    pub(super) fn used(&self, webhook: &'static str, time: Duration) {
        let seconds = self.cpu_seconds.get_or_create(&WebhookLabels { webhook });
        seconds.observe(time.as_secs_f64());
    }
}
