//! Work is held by channels, so that what is under way and what waits is known.

use std::net::Ipv4Addr;
use std::sync::mpsc;
use std::time::Duration;

use super::*;

const CALLER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn later() -> Instant {
    Instant::now() + Duration::from_secs(600)
}

/// Work that says that it has begun and ends when told to.
struct Held {
    begun: mpsc::Receiver<()>,
    end: mpsc::Sender<()>,
}

fn held() -> (impl FnOnce() + Send + 'static, Held) {
    let (begin, begun) = mpsc::channel();
    let (end, ended) = mpsc::channel();
    let work = move || {
        begin.send(()).unwrap();
        ended.recv().unwrap();
    };
    (work, Held { begun, end })
}

#[tokio::test]
async fn work_runs_on_a_named_thread_and_in_the_background_with_lower_priority() {
    let own = rustix::process::getpriority_process(None).unwrap();
    let pools = [
        (Pool::new("test", 1, 1), own),
        (Pool::background("test", 1, 1), NICENESS),
    ];
    for (pool, expected) in pools {
        let pool = pool.unwrap();
        let seen = pool.finish(CALLER, || {
            let name = thread::current().name().map(ToOwned::to_owned);
            (name, rustix::process::getpriority_process(None).unwrap())
        });
        let (name, niceness) = seen.await.unwrap();
        assert_eq!(name.as_deref(), Some("test-0"));
        assert_eq!(niceness, expected);
    }
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_room_is_made_by_those_who_left() {
    let pool = Pool::new("test", 1, 1).unwrap();
    let (work, first) = held();
    let running = tokio::spawn({
        let pool = pool.clone();
        async move { pool.run(CALLER, later(), work).await }
    });
    while first.begun.try_recv().is_err() {
        tokio::task::yield_now().await;
    }
    let mut waiting = Box::pin(pool.run(CALLER, later(), || 1));
    assert!(futures_poll(waiting.as_mut()).await.is_none());
    let refused = pool.run(CALLER, later(), || 2).await;
    assert_eq!(refused, Err(Refused::Full));
    drop(waiting);
    let mut next = Box::pin(pool.run(CALLER, later(), || 3));
    assert!(futures_poll(next.as_mut()).await.is_none());
    first.end.send(()).unwrap();
    assert_eq!(running.await.unwrap(), Ok(()));
    assert_eq!(next.await, Ok(3));
}

/// The result of polling once.
async fn futures_poll<F: Future + Unpin>(future: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = std::future::ready(()) => None,
    }
}

#[tokio::test]
async fn a_deadline_answers_while_the_work_goes_on() {
    let pool = Pool::new("test", 1, 1).unwrap();
    let (work, first) = held();
    let soon = Instant::now() + Duration::from_millis(1);
    assert_eq!(pool.run(CALLER, soon, work).await, Err(Refused::Late));
    if first.begun.recv().is_ok() {
        first.end.send(()).unwrap();
    }
    assert_eq!(pool.run(CALLER, later(), || 4).await, Ok(4));
}

#[tokio::test]
async fn a_panic_ends_the_work_alone() {
    let pool = Pool::new("test", 1, 1).unwrap();
    let failed = pool.run(CALLER, later(), || panic!("broken invariant"));
    assert_eq!(failed.await, Err::<(), _>(Refused::Panicked));
    assert_eq!(pool.run(CALLER, later(), || 5).await, Ok(5));
}

#[tokio::test]
async fn depth_and_work_under_way_are_counted() {
    let pool = Pool::new("test", 1, 2).unwrap();
    let mut registry = Registry::default();
    pool.register(&mut registry);
    let (work, first) = held();
    let running = tokio::spawn({
        let pool = pool.clone();
        async move { pool.run(CALLER, later(), work).await }
    });
    while first.begun.try_recv().is_err() {
        tokio::task::yield_now().await;
    }
    let mut waiting = Box::pin(pool.run(CALLER, later(), || ()));
    assert!(futures_poll(waiting.as_mut()).await.is_none());
    let text = crate::metrics::encode(&registry);
    assert!(
        text.contains("queue_depth 1\n") && text.contains("running 1\n"),
        "{text}"
    );
    first.end.send(()).unwrap();
    assert_eq!((running.await.unwrap(), waiting.await), (Ok(()), Ok(())));
}
