//! Makes an input smaller that breaks something.

use std::time::{Duration, Instant};

/// Tries of one input at most.
const TRIES_MAX: usize = 500;

/// Time for all tries: each starts a process.
const TIME_MAX: Duration = Duration::from_secs(120);

/// The smallest input found that still breaks, by leaving out parts and by writing zeros for what is left.
pub fn minimise(input: Vec<u8>, mut breaks: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let mut tries = 0;
    let started = Instant::now();
    let mut breaks = |input: &[u8]| {
        tries += 1;
        tries <= TRIES_MAX && started.elapsed() < TIME_MAX && breaks(input)
    };
    let mut smallest = input;
    let mut size = smallest.len().div_ceil(2);
    while size > 0 {
        leave_out(&mut smallest, size, &mut breaks);
        size /= 2;
    }
    plain(&mut smallest, &mut breaks);
    smallest
}

/// Leaves out every piece of this size that is not needed.
fn leave_out(input: &mut Vec<u8>, size: usize, breaks: &mut impl FnMut(&[u8]) -> bool) {
    let mut start = 0;
    while start < input.len() {
        let end = (start + size).min(input.len());
        let without = [&input[..start], &input[end..]].concat();
        match breaks(&without) {
            true => *input = without,
            false => start = end,
        }
    }
}

/// Writes `0` for every byte that may as well be one.
fn plain(input: &mut [u8], breaks: &mut impl FnMut(&[u8]) -> bool) {
    for at in 0..input.len() {
        let byte = std::mem::replace(&mut input[at], b'0');
        if byte != b'0' && !breaks(input) {
            input[at] = byte;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_breaks_is_left() {
        let breaks = |input: &[u8]| input.contains(&b'x') && input.ends_with(b"!");
        let input = b"a long text with an x somewhere in it!".to_vec();
        assert_eq!(minimise(input, breaks), b"x!");
    }

    #[test]
    fn bytes_that_only_take_a_place_become_zeros() {
        let breaks = |input: &[u8]| input.len() >= 4 && input[3] == b'x';
        assert_eq!(minimise(b"abcxyz".to_vec(), breaks), b"000x");
    }

    #[test]
    fn tries_are_bounded() {
        let mut tries = 0;
        minimise(vec![b'a'; 100_000], |_| {
            tries += 1;
            false
        });
        assert_eq!(tries, TRIES_MAX);
    }
}
