//! Time is paused: it moves on when every task waits.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// Answers as it is told to, and counts.
#[derive(Debug)]
struct Told {
    answer: Mutex<Result<bool, ReviewError>>,
    /// Reviews never end.
    hangs: bool,
    reviews: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

impl Told {
    fn new(answer: Result<bool, ReviewError>) -> Arc<Self> {
        Arc::new(Self {
            answer: Mutex::new(answer),
            hangs: false,
            reviews: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
        })
    }

    fn say(&self, answer: Result<bool, ReviewError>) {
        *self.answer.lock().unwrap() = answer;
    }

    fn reviews(&self) -> usize {
        self.reviews.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Reviewer for Told {
    async fn may_list_secrets(&self, _: &SpiffeId, _: &str) -> Result<bool, ReviewError> {
        self.reviews.fetch_add(1, Ordering::SeqCst);
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(now, Ordering::SeqCst);
        if self.hangs {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        self.answer.lock().unwrap().clone()
    }
}

fn away() -> Result<bool, ReviewError> {
    Err(ReviewError("no connection".to_owned()))
}

fn start(reviewer: &Arc<Told>) -> Questions {
    let (questions, reviews) = channel(Arc::clone(reviewer) as _, Timing::default());
    tokio::spawn(reviews.run());
    questions
}

fn account(name: &str) -> SpiffeId {
    format!("spiffe://cluster.local/ns/edge/sa/{name}")
        .parse()
        .unwrap()
}

fn follow(questions: &Questions, name: &str) -> watch::Receiver<Verdict> {
    let namespace = Arc::from("edge");
    questions.follow(&account(name), &namespace).unwrap()
}

/// The verdict after the next review, or of the one that was made.
async fn decided(verdict: &mut watch::Receiver<Verdict>) -> Verdict {
    let decided = verdict.wait_for(|verdict| *verdict != Verdict::Pending);
    *decided.await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_answer_holds_for_a_minute_be_it_yes_or_no() {
    for (answer, verdict) in [(true, Verdict::Allowed), (false, Verdict::Denied)] {
        let reviewer = Told::new(Ok(answer));
        let questions = start(&reviewer);
        let mut first = follow(&questions, "gateway");
        assert_eq!(*first.borrow(), Verdict::Pending);
        assert_eq!(decided(&mut first).await, verdict);
        // Who comes and goes meanwhile causes no review.
        drop(first);
        tokio::time::sleep(MINUTE / 2).await;
        let mut second = follow(&questions, "gateway");
        assert!(second.has_changed().unwrap(), "a known answer is news");
        assert_eq!(decided(&mut second).await, verdict);
        assert_eq!(reviewer.reviews(), 1);
        tokio::time::sleep(MINUTE).await;
        assert_eq!(reviewer.reviews(), 2, "{verdict:?} is asked for again");
        assert_eq!(*second.borrow(), verdict);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_for_when_nobody_follows() {
    let reviewer = Told::new(Ok(true));
    let questions = start(&reviewer);
    let mut verdict = follow(&questions, "gateway");
    decided(&mut verdict).await;
    drop(verdict);
    tokio::time::sleep(10 * MINUTE).await;
    assert_eq!(reviewer.reviews(), 1);
    assert!(questions.lock().is_empty());
    decided(&mut follow(&questions, "gateway")).await;
    assert_eq!(reviewer.reviews(), 2, "a forgotten answer is asked for");
}

#[tokio::test(start_paused = true)]
async fn equal_questions_share_a_review_and_different_ones_do_not() {
    let reviewer = Told::new(Ok(true));
    let questions = start(&reviewer);
    let mut same: Vec<_> = (0..50).map(|_| follow(&questions, "gateway")).collect();
    for verdict in &mut same {
        assert_eq!(decided(verdict).await, Verdict::Allowed);
    }
    assert_eq!(reviewer.reviews(), 1);
    decided(&mut follow(&questions, "other")).await;
    let elsewhere = Arc::from("elsewhere");
    let mut verdict = questions.follow(&account("gateway"), &elsewhere).unwrap();
    decided(&mut verdict).await;
    assert_eq!(reviewer.reviews(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_permission_that_comes_or_goes_is_noticed() {
    let reviewer = Told::new(Ok(false));
    let questions = start(&reviewer);
    let mut verdict = follow(&questions, "gateway");
    assert_eq!(decided(&mut verdict).await, Verdict::Denied);
    for (answer, expected) in [(true, Verdict::Allowed), (false, Verdict::Denied)] {
        reviewer.say(Ok(answer));
        let before = Instant::now();
        verdict
            .wait_for(|verdict| *verdict == expected)
            .await
            .unwrap();
        assert!(before.elapsed() <= MINUTE + Duration::from_secs(1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_yes_outlives_an_outage_by_minutes_and_nothing_else_does() {
    let reviewer = Told::new(Ok(true));
    let questions = start(&reviewer);
    let mut verdict = follow(&questions, "gateway");
    assert_eq!(decided(&mut verdict).await, Verdict::Allowed);
    let given = Instant::now();
    reviewer.say(away());
    verdict
        .wait_for(|verdict| *verdict == Verdict::Denied)
        .await
        .unwrap();
    let kept = Timing::default().kept;
    assert!(given.elapsed() >= kept && given.elapsed() < kept + Duration::from_secs(11));
    // The way back takes one pause.
    reviewer.say(Ok(true));
    let back = Instant::now();
    verdict
        .wait_for(|verdict| *verdict == Verdict::Allowed)
        .await
        .unwrap();
    assert!(back.elapsed() < Duration::from_secs(11));

    reviewer.say(away());
    let mut stranger = follow(&questions, "stranger");
    assert_eq!(decided(&mut stranger).await, Verdict::Denied);
}

#[tokio::test(start_paused = true)]
async fn a_review_that_hangs_is_a_no_in_time() {
    let mut told = Told::new(Ok(true));
    Arc::get_mut(&mut told).unwrap().hangs = true;
    let questions = start(&told);
    let before = Instant::now();
    let mut verdicts: Vec<_> = (0..100)
        .map(|number| follow(&questions, &format!("gateway-{number}")))
        .collect();
    for verdict in &mut verdicts {
        assert_eq!(decided(verdict).await, Verdict::Denied);
    }
    assert!(before.elapsed() <= Timing::default().timeout + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn reviews_and_questions_are_bounded() {
    let reviewer = Told::new(Ok(true));
    let questions = start(&reviewer);
    let mut verdicts: Vec<_> = (0..QUESTIONS_MAX)
        .map(|number| follow(&questions, &format!("gateway-{number}")))
        .collect();
    let namespace = Arc::from("edge");
    assert!(questions.follow(&account("one-more"), &namespace).is_none());
    for verdict in &mut verdicts {
        assert_eq!(decided(verdict).await, Verdict::Allowed);
    }
    assert_eq!(reviewer.most_at_once.load(Ordering::SeqCst), REVIEWS_MAX);
}

#[test]
fn a_denial_names_what_would_permit_it() {
    assert_eq!(
        denial(&account("gateway"), "edge"),
        "service account \"edge/gateway\" may not list Secrets in namespace \"edge\": credentials \
         of its Gateways are not sent to it; to permit it: kubectl create role gateway-secrets -n \
         edge --verb=get,list,watch --resource=secrets && kubectl create rolebinding \
         gateway-secrets -n edge --role=gateway-secrets --serviceaccount=edge:gateway"
    );
}
