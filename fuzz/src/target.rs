//! What is fuzzed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// What came of an input, as a number: the same for inputs that took the same way, as far as that can be told.
pub type Outcome = u64;

/// A parser with what it takes to feed it.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, also that of its folder in `corpus/`.
    pub name: &'static str,
    /// Parses the input and asserts what must hold for any input.
    pub run: fn(&[u8]) -> Outcome,
    /// Seeds that are computed; those in `corpus/` come in addition.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Text that mutations insert.
    pub dictionary: &'static [&'static str],
    /// The longest input.
    pub bytes_max: usize,
    /// What one input may cost.
    pub limits: Limits,
}

/// What one input may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// CPU time of the process.
    pub cpu_time: Duration,
    /// Memory in use beyond what was in use before it.
    pub memory_bytes: usize,
}

/// The stack of the thread that runs targets: that of tokio's workers, on which most parsers run.
pub const STACK_BYTES: usize = 2 << 20;

impl Target {
    /// A target without computed seeds and dictionary, within the usual limits.
    pub const fn new(name: &'static str, run: fn(&[u8]) -> Outcome) -> Self {
        Self {
            name,
            run,
            seeds: Vec::new,
            dictionary: &[],
            bytes_max: 16 << 10,
            // Without optimisation, on a machine with other work.
            limits: Limits {
                cpu_time: Duration::from_secs(2),
                memory_bytes: 32 << 20,
            },
        }
    }

    /// The same with computed seeds.
    pub const fn seeds(self, seeds: fn() -> Vec<Vec<u8>>) -> Self {
        Self { seeds, ..self }
    }

    /// The same with a dictionary.
    pub const fn dictionary(self, dictionary: &'static [&'static str]) -> Self {
        Self { dictionary, ..self }
    }

    /// The same for inputs of this length.
    pub const fn bytes_max(self, bytes_max: usize) -> Self {
        Self { bytes_max, ..self }
    }

    /// The same within other limits.
    pub const fn limits(self, cpu_time: Duration, memory_bytes: usize) -> Self {
        let limits = Limits {
            cpu_time,
            memory_bytes,
        };
        Self { limits, ..self }
    }
}

/// The outcome that these values stand for.
pub fn outcome(values: impl Hash) -> Outcome {
    let mut hasher = DefaultHasher::new();
    values.hash(&mut hasher);
    hasher.finish()
}

/// What kind of message this is: digits and whatever is quoted do not count.
pub fn kind_of(message: &str) -> Outcome {
    let unquoted = message.split(['"', '\'', '`']).step_by(2);
    let letters = unquoted.flat_map(str::chars);
    outcome(letters.filter(|c| c.is_alphabetic()).collect::<String>())
}

/// A size in steps that grow with it, so that not every length is an outcome of its own.
pub fn magnitude(size: usize) -> u32 {
    usize::BITS - size.leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_a_kind_have_the_same_outcome() {
        assert_eq!(
            kind_of("field \"a\": 12 is too large"),
            kind_of("field \"b.c\": 7 is too large")
        );
        assert_ne!(kind_of("field \"a\" is missing"), kind_of("no field \"a\""));
    }
}
