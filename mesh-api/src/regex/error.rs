//! Why an expression is refused.

use super::{DEPTH_MAX, PROGRAM_SIZE_MAX, TEXT_BYTES_MAX};

/// Characters of an expression that an error quotes at most.
const QUOTED_MAX: usize = 64;

/// Why text is not an expression that can be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegexError {
    /// Longer than Istio allows.
    #[error("it is longer than {TEXT_BYTES_MAX} characters")]
    TooLong,
    /// The program has too many states.
    #[error("its program of {size} states is larger than {PROGRAM_SIZE_MAX}")]
    TooLarge {
        /// What it would have.
        size: u64,
    },
    /// Too many levels.
    #[error("it nests deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// `(` without `)`.
    #[error("a group is not closed: missing \")\"")]
    MissingParenthesis,
    /// `)` without `(`.
    #[error("unexpected \")\"")]
    UnexpectedParenthesis,
    /// `[` without `]`.
    #[error("a character class is not closed: missing \"]\"")]
    MissingBracket,
    /// `[z-a]`, `\p{Nothing}`, `[[:nothing:]]`.
    #[error("invalid character class \"{0}\"")]
    Class(String),
    /// An escape that RE2 does not know.
    #[error("invalid escape \"{0}\"")]
    Escape(String),
    /// `(?` and something that RE2 does not know, such as a look-around.
    #[error("invalid or unsupported group \"{0}\"")]
    Group(String),
    /// Two groups of one name.
    #[error("two groups are named \"{0}\"")]
    DuplicateName(String),
    /// `*a`, `(|+)`.
    #[error("there is nothing to repeat before \"{0}\"")]
    NothingToRepeat(String),
    /// `a**`, `a{2}{3}`.
    #[error("a repetition follows a repetition: \"{0}\"")]
    RepeatedRepetition(String),
    /// `a{1001}`, `a{3,2}`, `(a{100}){100}`.
    #[error("invalid count of repetitions \"{0}\": at most 1000, nested ones multiplied")]
    RepeatCount(String),
    /// The program could not be built although its size allows it.
    #[error("{0}")]
    Program(String),
}

/// The beginning of text, for an error.
pub(super) fn quote(text: &str) -> String {
    text.chars().take(QUOTED_MAX).collect()
}
