//! A limit on the CPU time of a piece of work, looked at from inside of it.
//!
//! A thread cannot be stopped from outside, so code whose cost depends on its input asks [`check`] at coarse points
//! and gives up. The end belongs to the thread and not to a value that is passed down, because some of that code is
//! called by a library that passes nothing of ours (functions of templates). CPU time rather than time: a busy
//! machine is not the input's fault.

use std::cell::Cell;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use thiserror::Error;

thread_local! {
    /// The thread's CPU time at which its budget ends; none where there is no limit.
    static END: Cell<Option<Duration>> = const { Cell::new(None) };
}

/// The work has taken more than its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("it takes more CPU time than one request may")]
pub struct Spent;

/// Runs `work` under a limit of `budget`, which ends with it.
pub fn within<T>(budget: Duration, work: impl FnOnce() -> T) -> T {
    let _restored = Restore(END.replace(Some(used() + budget)));
    work()
}

/// Whether the budget lasts. Takes a system call: not for inner loops.
///
/// # Errors
/// When the budget is used up. Where [`within`] is not under way there is no limit.
pub fn check() -> Result<(), Spent> {
    match END.get() {
        Some(end) if used() >= end => Err(Spent),
        _ => Ok(()),
    }
}

/// CPU time that this thread has used.
pub fn used() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

struct Restore(Option<Duration>);

impl Drop for Restore {
    fn drop(&mut self) {
        END.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_that_of_the_work_alone() {
        assert_eq!(check(), Ok(()));
        within(Duration::from_secs(3600), || {
            assert_eq!(check(), Ok(()));
            within(Duration::ZERO, || assert_eq!(check(), Err(Spent)));
            assert_eq!(check(), Ok(()));
        });
        within(Duration::ZERO, || assert_eq!(check(), Err(Spent)));
        assert_eq!(check(), Ok(()));
    }

    #[test]
    fn work_uses_it_up() {
        let start = used();
        let rounds = within(Duration::from_millis(5), || {
            let mut rounds = 0_u64;
            while check().is_ok() {
                rounds += 1;
            }
            rounds
        });
        assert!(rounds > 0 && used() - start >= Duration::from_millis(5));
    }
}
