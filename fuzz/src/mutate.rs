//! Inputs made out of others: the same from the same seed, on every machine.

use fastrand::Rng;

/// Mutations of one input.
const STEPS_MAX: usize = 6;

/// Numbers at the edges of what fields can hold.
const NUMBERS: [&str; 12] = [
    "0",
    "-1",
    "1",
    "127",
    "255",
    "65535",
    "65536",
    "2147483648",
    "4294967295",
    "9223372036854775807",
    "18446744073709551616",
    "1e309",
];

/// Bytes at the edges of lengths, varints and text.
const BYTES: [u8; 12] = [
    0x00, 0x01, 0x7f, 0x80, 0xff, b'\n', b'\r', b' ', b'"', b'%', b'{', b'\\',
];

/// Makes inputs.
#[derive(Debug)]
pub struct Mutator {
    rng: Rng,
    dictionary: &'static [&'static str],
    bytes_max: usize,
}

impl Mutator {
    /// A mutator whose inputs follow from `seed`.
    pub fn new(seed: u64, dictionary: &'static [&'static str], bytes_max: usize) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            dictionary,
            bytes_max,
        }
    }

    /// An input made of one or two of these.
    ///
    /// # Panics
    /// When there is none.
    pub fn next(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        // New inputs are at the end; what led to something new is worth more than what has been tried for long.
        let first = self.rng.usize(..inputs.len());
        let second = self.rng.usize(..inputs.len());
        let mut input = inputs[first.max(second)].clone();
        for _ in 0..=self.rng.usize(..STEPS_MAX) {
            let other = &inputs[self.rng.usize(..inputs.len())];
            self.step(&mut input, other);
        }
        input.truncate(self.bytes_max);
        input
    }

    fn step(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        match self.rng.u8(..12) {
            0 => self.flip_bit(input),
            1 => self.set_byte(input),
            2 => self.insert_bytes(input),
            3 | 4 => self.insert_word(input),
            5 => self.replace_number(input),
            6 => self.remove(input),
            7 => self.copy_within(input),
            8 => self.repeat(input),
            9 | 10 => self.take_from(input, other),
            _ => input.truncate(self.rng.usize(..=input.len())),
        }
    }

    fn flip_bit(&mut self, input: &mut [u8]) {
        if !input.is_empty() {
            let at = self.rng.usize(..input.len());
            input[at] ^= 1 << self.rng.u8(..8);
        }
    }

    fn set_byte(&mut self, input: &mut [u8]) {
        if !input.is_empty() {
            let at = self.rng.usize(..input.len());
            input[at] = self.byte();
        }
    }

    fn insert_bytes(&mut self, input: &mut Vec<u8>) {
        let count = self.rng.usize(1..=8);
        let bytes: Vec<u8> = (0..count).map(|_| self.byte()).collect();
        self.insert(input, &bytes);
    }

    fn insert_word(&mut self, input: &mut Vec<u8>) {
        let Some(word) = self.rng.choice(self.dictionary) else {
            return self.insert_bytes(input);
        };
        if self.rng.bool() {
            return self.insert(input, word.as_bytes());
        }
        // In place of as many bytes: lengths that stand before them stay right.
        let at = self.rng.usize(..=input.len());
        let end = (at + word.len()).min(input.len());
        input.splice(at..end, word.bytes());
    }

    /// Another number in place of one that is written in digits.
    fn replace_number(&mut self, input: &mut Vec<u8>) {
        let start = self.rng.usize(..=input.len());
        let Some(at) = input[start..].iter().position(u8::is_ascii_digit) else {
            return self.set_byte(input);
        };
        let at = start + at;
        let digits = input[at..].iter().take_while(|byte| byte.is_ascii_digit());
        let end = at + digits.count();
        let number = self.rng.choice(NUMBERS).unwrap_or_default();
        input.splice(at..end, number.bytes());
    }

    fn remove(&mut self, input: &mut Vec<u8>) {
        let range = self.range(input.len());
        input.drain(range);
    }

    fn copy_within(&mut self, input: &mut Vec<u8>) {
        let range = self.range(input.len());
        let piece = input[range].to_vec();
        self.insert(input, &piece);
    }

    /// A piece many times over: nesting, lists and tables that grow.
    fn repeat(&mut self, input: &mut Vec<u8>) {
        let range = self.range(input.len());
        let piece = &input[range];
        let room = self.bytes_max.saturating_sub(input.len()) / piece.len().max(1);
        let times = (1_usize << self.rng.u32(1..=12)).min(room);
        let pieces = piece.repeat(times);
        self.insert(input, &pieces);
    }

    fn take_from(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        let piece = &other[self.range(other.len())];
        if self.rng.bool() {
            return self.insert(input, piece);
        }
        let range = self.range(input.len());
        input.splice(range, piece.iter().copied());
    }

    fn insert(&mut self, input: &mut Vec<u8>, piece: &[u8]) {
        let at = self.rng.usize(..=input.len());
        input.splice(at..at, piece.iter().copied());
    }

    /// A part, more often a short one.
    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.rng.usize(..=length);
        let longest = match self.rng.bool() {
            true => (length - start).min(16),
            false => length - start,
        };
        start..start + self.rng.usize(..=longest)
    }

    fn byte(&mut self) -> u8 {
        match self.rng.bool() {
            true => self.rng.u8(..),
            false => self.rng.choice(BYTES).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(seed: u64) -> Vec<Vec<u8>> {
        let seeds = [Vec::new(), b"hello 12".to_vec()];
        let mut mutator = Mutator::new(seed, &["word"], 64);
        (0..5000).map(|_| mutator.next(&seeds)).collect()
    }

    #[test]
    fn inputs_follow_from_the_seed_and_keep_the_bound() {
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
        assert!(inputs(1).iter().all(|input| input.len() <= 64));
    }

    #[test]
    fn words_and_numbers_are_put_in() {
        let all = inputs(1);
        let some = |text: &[u8]| {
            all.iter()
                .any(|input| input.windows(text.len()).any(|window| window == text))
        };
        assert!(some(b"word"));
        assert!(some(b"hello 65535"));
    }
}
