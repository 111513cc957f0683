//! Regular expressions as Istio accepts them and Envoy executes them: RE2's syntax.
//!
//! The one compiler of the workspace. Galley parses an expression with it to judge a manifest, the proxy compiles
//! it with the same parser, so what the one accepts the other can run. The `regex` crate's own syntax is not
//! used: it reads some expressions of RE2 differently (`\w` with Unicode's letters, `{id}` as an error, `\<` as a
//! word boundary, `[a&&b]` as an intersection) and has no bound that is known before the program is built.
//!
//! Values are bytes. As in RE2, `.` and negated classes take one character of UTF-8, so bytes that are no UTF-8
//! match none of them; `\w`, `\d`, `\s` and `\b` know ASCII only.
//!
//! What an expression may cost is bounded three ways: by its length where a user wrote it ([`TEXT_BYTES_MAX`],
//! Istio's limit), by the nested repetitions that RE2 allows (1,000 in all), and by the size of its program
//! ([`PROGRAM_SIZE_MAX`]), which is computed without building it.
//!
//! Differs from RE2: no more than [`DEPTH_MAX`] levels of nesting, and a repetition must follow what it repeats
//! without flags in between (`a(?i)*`). `\C` is refused, as Istio's validation does.

mod class;
mod error;
mod node;
mod parse;

use std::fmt;

use regex_automata::meta;
use regex_automata::nfa::thompson::WhichCaptures;
use regex_syntax::hir::Hir;

pub use self::error::RegexError;
use self::node::Node;

/// The longest expression in a manifest, in bytes. Source: Istio `validateStringRegexp`.
///
/// Not a limit of [`Regex`]: the control plane writes longer ones itself.
pub const TEXT_BYTES_MAX: usize = 1024;

/// The largest program, in states of its automaton. RE2 in Envoy ends at about as many instructions (8 MiB), so
/// what is refused here has no effect in Istio either.
pub const PROGRAM_SIZE_MAX: u64 = 120_000;

/// The deepest nesting of repetitions and alternatives. Building a program recurses on a thread's stack.
pub const DEPTH_MAX: u32 = 128;

/// Memory for each direction of a lazily built automaton, per thread that searches at the same time. A search
/// that needs more goes on without it, in time proportional to program size and value.
const LAZY_AUTOMATON_BYTES_MAX: usize = 2 << 20;

/// Groups that a substitution can refer to: RE2 knows `\0` to `\9`.
const CAPTURES_MAX: u32 = 9;

/// Text as an expression that matches it literally.
pub fn escape(text: &str) -> String {
    let mut expression = String::with_capacity(text.len());
    for character in text.chars() {
        if r"\.+*?()|[]{}^$".contains(character) {
            expression.push('\\');
        }
        expression.push(character);
    }
    expression
}

/// An expression that was understood, and whose program is known to be small enough.
#[derive(Debug, Clone)]
pub struct Expression {
    node: Node,
    work: u64,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// It is not RE2's syntax, or its program would be too large.
    pub fn parse(text: &str) -> Result<Self, RegexError> {
        let (node, work) = parse::parse(text)?;
        if node.size > PROGRAM_SIZE_MAX {
            return Err(RegexError::TooLarge { size: node.size });
        }
        Ok(Self { node, work })
    }

    /// The same for an expression in a manifest, whose length is limited.
    ///
    /// # Errors
    /// Those of [`Expression::parse`], and [`RegexError::TooLong`].
    pub fn parse_written(text: &str) -> Result<Self, RegexError> {
        match text.len() <= TEXT_BYTES_MAX {
            true => Self::parse(text),
            false => Err(RegexError::TooLong),
        }
    }

    /// States of the program: what it costs each proxy in memory.
    pub fn program_size(&self) -> u64 {
        self.node.size
    }

    /// Steps that reading it took: bytes of text and ranges of character classes.
    pub fn work(&self) -> u64 {
        self.work
    }
}

/// A compiled expression.
#[derive(Clone)]
pub struct Regex {
    text: Box<str>,
    program: meta::Regex,
}

impl Regex {
    /// Compiles an expression that must match the whole value.
    ///
    /// # Errors
    /// Those of [`Expression::parse`].
    pub fn full_match(text: &str) -> Result<Self, RegexError> {
        let hir = Expression::parse(text)?.node.whole();
        let config = meta::Regex::config().which_captures(WhichCaptures::Implicit);
        Self::build(text, &hir, config.utf8_empty(false))
    }

    /// Compiles an expression that may match any part of a value.
    ///
    /// # Errors
    /// Those of [`Expression::parse`].
    pub fn partial_match(text: &str) -> Result<Self, RegexError> {
        let hir = Expression::parse(text)?.node.part();
        Self::build(text, &hir, meta::Regex::config())
    }

    fn build(text: &str, hir: &Hir, config: meta::Config) -> Result<Self, RegexError> {
        let config = config
            .nfa_size_limit(None)
            .hybrid_cache_capacity(LAZY_AUTOMATON_BYTES_MAX);
        let built = meta::Regex::builder().configure(config).build_from_hir(hir);
        Ok(Self {
            text: text.into(),
            program: built.map_err(|error| RegexError::Program(error.to_string()))?,
        })
    }

    /// The expression as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// True if the value matches.
    pub fn is_match(&self, value: &[u8]) -> bool {
        self.program.is_match(value)
    }

    /// The value with every match replaced. `${1}` in the replacement is the first group, `$$` a dollar.
    pub fn replace_all(&self, value: &str, replacement: &str) -> String {
        let mut replaced = Vec::with_capacity(value.len());
        let mut end = 0;
        for captures in self.program.captures_iter(value) {
            let Some(found) = captures.get_match() else {
                continue;
            };
            replaced.extend_from_slice(&value.as_bytes()[end..found.start()]);
            captures.interpolate_bytes_into(
                value.as_bytes(),
                replacement.as_bytes(),
                &mut replaced,
            );
            end = found.end();
        }
        replaced.extend_from_slice(&value.as_bytes()[end..]);
        // Matches begin and end between characters, so nothing is lost here.
        String::from_utf8_lossy(&replaced).into_owned()
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Regex").field(&self.text).finish()
    }
}

impl fmt::Display for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
