//! Who may read Secrets: asked of whoever decides it, remembered, and asked again.
//!
//! Like Istio, a gateway gets the credentials of a namespace if its service account may list the
//! namespace's Secrets (`pilot/pkg/credentials/kube/secrets.go`). Istio asks while it generates;
//! here streams follow a question, one task asks for all of them, and a changed answer wakes the
//! streams that follow it, so that a permission which is granted or withdrawn later has its effect
//! without a new connection. All streams with the same question share it.
//!
//! An answer holds for [`Timing::fresh`] and is then asked for again as long as a stream follows
//! it. Where nobody can answer, a yes holds on for [`Timing::kept`] and everything else is a no.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use mesh_api::identity::SpiffeId;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;
use tonic::async_trait;

/// Questions that are remembered at once. There is one for each service account of a gateway and
/// namespace of its Secrets; a stream whose question finds no place is denied.
const QUESTIONS_MAX: usize = 4096;

/// Reviews under way at once; a storm of starting gateways queues here rather than in the API
/// server.
const REVIEWS_MAX: usize = 16;

/// Decides who may read Secrets.
#[async_trait]
pub trait Reviewer: fmt::Debug + Send + Sync + 'static {
    /// Whether `account` may list the Secrets of `namespace`.
    ///
    /// # Errors
    /// When this cannot be decided now.
    async fn may_list_secrets(
        &self,
        account: &SpiffeId,
        namespace: &str,
    ) -> Result<bool, ReviewError>;
}

/// Why a review gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ReviewError(pub String);

/// How long answers hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long an answer is not asked for again.
    pub fresh: Duration,
    /// The pause after a review that failed.
    pub retry: Duration,
    /// How long after a yes it holds while reviews fail.
    pub kept: Duration,
    /// How long a review may take, the wait for its turn included.
    pub timeout: Duration,
}

impl Default for Timing {
    /// A minute, as in Istio for a no; what is kept is Istio's minutes for a yes.
    fn default() -> Self {
        Self {
            fresh: Duration::from_secs(60),
            retry: Duration::from_secs(10),
            kept: Duration::from_secs(300),
            timeout: Duration::from_secs(5),
        }
    }
}

/// Permits nothing: what stands in where nobody decides.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

#[async_trait]
impl Reviewer for Nobody {
    async fn may_list_secrets(&self, _: &SpiffeId, _: &str) -> Result<bool, ReviewError> {
        Ok(false)
    }
}

/// Whether an account may list the Secrets of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not decided yet; for no longer than [`Timing::timeout`].
    Pending,
    Allowed,
    Denied,
}

/// Service account and namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Question {
    account: SpiffeId,
    namespace: Arc<str>,
}

/// Takes questions.
#[derive(Clone, Debug)]
pub(crate) struct Questions {
    verdicts: Arc<Mutex<HashMap<Question, watch::Sender<Verdict>>>>,
    new: mpsc::Sender<Question>,
}

/// Answers questions, when run.
#[derive(Debug)]
pub(crate) struct Reviews {
    questions: Questions,
    new: mpsc::Receiver<Question>,
    reviewer: Arc<dyn Reviewer>,
    timing: Timing,
    permits: Semaphore,
}

/// Questions and what answers them.
pub(crate) fn channel(reviewer: Arc<dyn Reviewer>, timing: Timing) -> (Questions, Reviews) {
    // A question is sent when it finds a place and gives that up after it was received.
    let (sender, receiver) = mpsc::channel(QUESTIONS_MAX);
    let questions = Questions {
        verdicts: Arc::default(),
        new: sender,
    };
    let reviews = Reviews {
        questions: questions.clone(),
        new: receiver,
        reviewer,
        timing,
        permits: Semaphore::new(REVIEWS_MAX),
    };
    (questions, reviews)
}

impl Questions {
    /// Whether `account` may list the Secrets of `namespace`, from now on. Nothing if too many
    /// questions are open; then this is a no.
    pub(crate) fn follow(
        &self,
        account: &SpiffeId,
        namespace: &Arc<str>,
    ) -> Option<watch::Receiver<Verdict>> {
        let question = Question {
            account: account.clone(),
            namespace: Arc::clone(namespace),
        };
        let mut verdicts = self.lock();
        if let Some(verdict) = verdicts.get(&question) {
            let mut receiver = verdict.subscribe();
            receiver.mark_changed();
            return Some(receiver);
        }
        if verdicts.len() >= QUESTIONS_MAX || self.new.try_send(question.clone()).is_err() {
            tracing::warn!(%account, %namespace, "too many reviews of access to Secrets: denied");
            return None;
        }
        let (verdict, receiver) = watch::channel(Verdict::Pending);
        verdicts.insert(question, verdict);
        Some(receiver)
    }

    /// Shows a verdict; returns whether it is another than before.
    fn publish(&self, question: &Question, verdict: Verdict) -> bool {
        let verdicts = self.lock();
        let sender = verdicts.get(question);
        sender.is_some_and(|sender| {
            sender.send_if_modified(|current| std::mem::replace(current, verdict) != verdict)
        })
    }

    /// Forgets a question that no stream follows; returns whether it did.
    fn forget_unfollowed(&self, question: &Question) -> bool {
        let mut verdicts = self.lock();
        let is_followed = verdicts
            .get(question)
            .is_some_and(|verdict| verdict.receiver_count() > 0);
        if !is_followed {
            verdicts.remove(question);
        }
        !is_followed
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Question, watch::Sender<Verdict>>> {
        // Every write leaves the map whole, so a panic elsewhere does not spoil it.
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reviews {
    /// Answers questions as long as it is polled.
    pub(crate) async fn run(mut self) -> Infallible {
        let Self {
            questions,
            new,
            reviewer,
            timing,
            permits,
        } = &mut self;
        let one = |question| Review {
            questions,
            reviewer: &**reviewer,
            timing,
            permits,
            question,
            allowed_at: None,
        };
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                question = new.recv() => match question {
                    Some(question) => open.push(one(question).run()),
                    // Not while `questions` holds a sender.
                    None => return std::future::pending().await,
                },
                Some(()) = open.next() => {}
            }
        }
    }
}

/// One question, as long as streams follow it.
struct Review<'r> {
    questions: &'r Questions,
    reviewer: &'r dyn Reviewer,
    timing: &'r Timing,
    permits: &'r Semaphore,
    question: Question,
    /// When the last answer was given, if that was a yes.
    allowed_at: Option<Instant>,
}

impl Review<'_> {
    async fn run(mut self) {
        loop {
            let (verdict, pause) = self.ask().await;
            if self.questions.publish(&self.question, verdict) {
                self.report(verdict);
            }
            tokio::time::sleep(pause).await;
            if self.questions.forget_unfollowed(&self.question) {
                return;
            }
        }
    }

    /// The verdict, and how long it is not asked for again.
    async fn ask(&mut self) -> (Verdict, Duration) {
        let Question { account, namespace } = &self.question;
        let review = async {
            // The semaphore is never closed; should it be, the review is made all the same.
            let _permit = self.permits.acquire().await;
            self.reviewer.may_list_secrets(account, namespace).await
        };
        let answer = tokio::time::timeout(self.timing.timeout, review).await;
        match answer.unwrap_or_else(|_| Err(ReviewError("no answer in time".to_owned()))) {
            Ok(true) => {
                self.allowed_at = Some(Instant::now());
                (Verdict::Allowed, self.timing.fresh)
            }
            Ok(false) => {
                self.allowed_at = None;
                (Verdict::Denied, self.timing.fresh)
            }
            Err(error) => {
                tracing::warn!(%account, %namespace, %error, "access to Secrets not reviewed");
                let held = self.allowed_at.map(|at| at.elapsed());
                match held.and_then(|held| self.timing.kept.checked_sub(held)) {
                    Some(left) if !left.is_zero() => {
                        (Verdict::Allowed, self.timing.retry.min(left))
                    }
                    _ => (Verdict::Denied, self.timing.retry),
                }
            }
        }
    }

    fn report(&self, verdict: Verdict) {
        let Question { account, namespace } = &self.question;
        match verdict {
            Verdict::Denied => tracing::warn!("{}", denial(account, namespace)),
            _ => tracing::info!(%account, %namespace, "gateway may read Secrets"),
        }
    }
}

/// What an account lacks, and how to give it.
pub(crate) fn denial(account: &SpiffeId, namespace: &str) -> String {
    let (home, name) = (&account.namespace, &account.service_account);
    format!(
        "service account \"{home}/{name}\" may not list Secrets in namespace \"{namespace}\": \
         credentials of its Gateways are not sent to it; to permit it: \
         kubectl create role {name}-secrets -n {namespace} --verb=get,list,watch \
         --resource=secrets && kubectl create rolebinding {name}-secrets -n {namespace} \
         --role={name}-secrets --serviceaccount={home}:{name}"
    )
}

#[cfg(test)]
mod tests;
