//! Waiting for a condition, with a deadline.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// How long a change of configuration may take to be in force everywhere.
pub const IN_FORCE: Duration = Duration::from_secs(20);
const INTERVAL: Duration = Duration::from_millis(100);

/// Asks `condition` until it gives a value; its last complaint is in the error.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<T>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            Err(error) if start.elapsed() >= limit => {
                bail!("{what} not reached in {} s: {error:#}", limit.as_secs())
            }
            Err(_) => thread::sleep(INTERVAL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_ends_the_wait() {
        let mut left = 2;
        let value = until("zero", Duration::from_secs(5), || {
            left -= 1;
            anyhow::ensure!(left == 0, "{left} left");
            Ok("done")
        });
        assert_eq!(value.unwrap(), "done");
    }

    #[test]
    fn the_deadline_tells_what_was_missing() {
        let never = until("rain", Duration::ZERO, || -> Result<()> { bail!("dry") });
        assert_eq!(
            never.unwrap_err().to_string(),
            "rain not reached in 0 s: dry"
        );
    }
}
