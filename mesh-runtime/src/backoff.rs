//! Jittered exponential backoff for reconnecting clients.
//!
//! Attempt `n` waits a random time between half and the whole of `base * 2^n`, at most `max`. Full jitter
//! (from zero) spreads a herd a little better, but lets a single client hammer a server that is down; half
//! jitter keeps a floor.

use std::time::Duration;

/// The state of one client's retries.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    attempt: u32,
    random: fastrand::Rng,
}

impl Backoff {
    /// Begins at `base` and never exceeds `max`.
    pub fn new(base: Duration, max: Duration) -> Self {
        Self::with_rng(base, max, fastrand::Rng::new())
    }

    /// The same with a given source of randomness, for tests.
    pub fn with_rng(base: Duration, max: Duration, random: fastrand::Rng) -> Self {
        Self {
            base,
            max,
            attempt: 0,
            random,
        }
    }

    /// How long to wait before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        let factor = 1_u32.checked_shl(self.attempt).unwrap_or(u32::MAX);
        let ceiling = self.base.saturating_mul(factor).min(self.max);
        self.attempt = self.attempt.saturating_add(1);
        ceiling.mul_f64(0.5 + self.random.f64() / 2.0)
    }

    /// Waits before the next attempt.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.next_delay()).await;
    }

    /// Begins anew after a success.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(2);

    #[test]
    fn doubles_up_to_the_maximum_within_half_jitter() {
        let mut backoff = Backoff::with_rng(BASE, MAX, fastrand::Rng::with_seed(7));
        for ceiling_ms in [100, 200, 400, 800, 1600, 2000, 2000] {
            let ceiling = Duration::from_millis(ceiling_ms);
            let delay = backoff.next_delay();
            assert!(
                delay >= ceiling / 2 && delay <= ceiling,
                "{delay:?} for {ceiling:?}"
            );
        }
        backoff.reset();
        assert!(backoff.next_delay() <= BASE);
    }

    #[test]
    fn never_overflows() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::MAX);
        for _ in 0..100 {
            backoff.next_delay();
        }
        let mut capped = Backoff::new(BASE, MAX);
        for _ in 0..100 {
            assert!(capped.next_delay() <= MAX);
        }
    }
}
