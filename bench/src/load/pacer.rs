//! The times at which requests are due.
//!
//! Driven by a timerfd: the runtime's own timers have a granularity of a millisecond, which is more than most
//! of the latencies that are measured.

use std::{
    cell::{Cell, RefCell},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::{io::AsyncReadExt, net::unix::pipe, sync::Semaphore};

/// More than any run has.
const LANES_MAX: usize = 1_000_000;

/// Hands out due times to whichever lane is free.
pub(super) struct Pacer {
    timer: RefCell<Option<pipe::Receiver>>,
    start: Instant,
    interval: Duration,
    count: u64,
    taken: Cell<u64>,
    due: Semaphore,
}

impl Pacer {
    /// A pacer for `rate` requests a second over `length`, starting now.
    pub(super) fn start(rate: f64, length: Duration) -> anyhow::Result<Self> {
        ensure!(rate >= 1.0, "the rate is too low: {rate}");
        let interval = Duration::from_secs_f64(1.0 / rate);
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        let every = Timespec {
            tv_sec: interval.as_secs() as i64,
            tv_nsec: interval.subsec_nanos().into(),
        };
        let spec = Itimerspec {
            it_interval: every,
            it_value: every,
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &spec)?;
        // A timer is read as a pipe is: this type wants no more than a descriptor that is read and polled.
        let timer = pipe::Receiver::from_owned_fd_unchecked(timer);
        let timer = timer.context("cannot watch the timer")?;
        Ok(Self {
            timer: RefCell::new(Some(timer)),
            start: Instant::now(),
            interval,
            count: (length.as_secs_f64() * rate).round().max(1.0) as u64,
            taken: Cell::new(0),
            due: Semaphore::new(0),
        })
    }

    /// Releases requests as they become due, until all are; then the lanes end.
    pub(super) async fn run(&self) {
        let Some(mut timer) = self.timer.take() else {
            return;
        };
        let mut released = 0;
        while released < self.count {
            let mut expirations = [0; 8];
            if timer.read_exact(&mut expirations).await.is_err() {
                break;
            }
            let due = u64::from_ne_bytes(expirations).min(self.count - released);
            released += due;
            self.due.add_permits(due as usize);
        }
        // What is taken beyond the count tells a lane to end.
        self.due.add_permits(LANES_MAX);
    }

    /// Waits for the next request and returns when it was due; none when all are taken.
    pub(super) async fn next(&self) -> Option<Instant> {
        self.due.acquire().await.ok()?.forget();
        let index = self.taken.get();
        self.taken.set(index + 1);
        if index >= self.count {
            return None;
        }
        Some(self.start + self.interval.mul_f64((index + 1) as f64))
    }
}
