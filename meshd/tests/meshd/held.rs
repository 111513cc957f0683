//! Threads that are held, so that what is served meanwhile is served elsewhere.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::mpsc;
use std::time::Duration;

use mesh_runtime::pool::{Pool, Refused};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The address that the tests call from, as the control plane sees it.
pub(crate) const CALLER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A piece of work under way.
type Work = Pin<Box<dyn Future<Output = Result<(), Refused>> + Send>>;

/// Work that ends when told to.
pub(crate) struct Held {
    pub(crate) release: Vec<mpsc::Sender<()>>,
    pub(crate) work: Vec<Work>,
}

impl Held {
    /// Takes all of a pool's threads, and `waiting` places of its queue.
    pub(crate) async fn new(pool: &Pool, threads: usize, waiting: usize) -> Self {
        let mut held = Self {
            release: Vec::new(),
            work: Vec::new(),
        };
        for number in 0..threads + waiting {
            let begun = held.add(pool);
            if number < threads {
                begun.await.unwrap();
            }
        }
        held
    }

    fn add(&mut self, pool: &Pool) -> oneshot::Receiver<()> {
        let (begin, begun) = oneshot::channel();
        let (release, released) = mpsc::channel();
        let pool = pool.clone();
        let running = tokio::spawn(async move {
            let later = Instant::now() + Duration::from_secs(600);
            let work = move || {
                let _ = begin.send(());
                released.recv().unwrap();
            };
            pool.run(CALLER, later, work).await
        });
        self.release.push(release);
        self.work.push(Box::pin(async { running.await.unwrap() }));
        begun
    }

    pub(crate) async fn end(self) {
        for release in self.release {
            release.send(()).unwrap();
        }
        for work in self.work {
            assert_eq!(work.await, Ok(()));
        }
    }
}
