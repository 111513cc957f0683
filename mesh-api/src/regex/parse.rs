//! RE2's syntax (`re2/parse.cc`, flags `LikePerl`), without recursion.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use regex_syntax::hir::Look;

use super::DEPTH_MAX;
use super::class::{Bracket, Class, Group, cases};
use super::error::{RegexError, quote};
use super::node::Node;

/// Repetitions of one expression, nested ones multiplied (`maximum_repeat_count`).
const REPEAT_MAX: u32 = 1000;

/// Bytes of text that cost as much as a range of a class in brackets, which is sorted and counted anew.
const STEPS_PER_RANGE: u64 = 64;

/// Reads an expression. The number says how much work that was.
pub(super) fn parse(text: &str) -> Result<(Node, u64), RegexError> {
    let mut parser = Parser {
        rest: text,
        flags: Flags::default(),
        open: vec![Open::default()],
        groups: 0,
        names: BTreeSet::new(),
        brackets: HashMap::new(),
        after_repetition: false,
        work: text.len() as u64 + 1,
    };
    while let Some(character) = parser.rest.chars().next() {
        parser.step(character)?;
    }
    let last = parser.open.pop().ok_or(RegexError::UnexpectedParenthesis)?;
    if !parser.open.is_empty() {
        return Err(RegexError::MissingParenthesis);
    }
    Ok((checked(last.close())?, parser.work))
}

fn checked(node: Node) -> Result<Node, RegexError> {
    match node.depth > DEPTH_MAX {
        true => Err(RegexError::TooDeep),
        false => Ok(node),
    }
}

/// `(?imsU)`.
#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    ignore_case: bool,
    multi_line: bool,
    dot_line_feed: bool,
    swap_greed: bool,
}

/// A group that is not closed yet; the first is the whole expression.
#[derive(Debug, Default)]
struct Open {
    /// Its number, if it captures.
    capture: Option<u32>,
    /// Flags outside of it.
    outside: Flags,
    alternatives: Vec<Node>,
    sequence: Vec<Node>,
}

impl Open {
    fn next_alternative(&mut self) {
        let sequence = std::mem::take(&mut self.sequence);
        self.alternatives.push(Node::concat(sequence));
    }

    fn close(mut self) -> Node {
        self.next_alternative();
        let node = Node::alternate(self.alternatives);
        match self.capture {
            Some(number) => Node::capture(node, number),
            None => node,
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
    flags: Flags,
    open: Vec<Open>,
    groups: u32,
    names: BTreeSet<&'a str>,
    /// Classes by their text and whether case matters: many expressions repeat one.
    brackets: HashMap<(&'a str, bool), Arc<Class>>,
    after_repetition: bool,
    work: u64,
}

impl<'a> Parser<'a> {
    /// Reads one element, which begins with `character`.
    fn step(&mut self, character: char) -> Result<(), RegexError> {
        let after_repetition = std::mem::take(&mut self.after_repetition);
        match character {
            '(' if self.rest.starts_with("(?") => self.perl_group(),
            '(' => {
                self.skip(1);
                self.open_capture();
                Ok(())
            }
            ')' => self.close_group(),
            '|' => {
                self.skip(1);
                self.current().next_alternative();
                Ok(())
            }
            '^' | '$' => {
                self.skip(1);
                self.push(Node::look(match (character, self.flags.multi_line) {
                    ('^', true) => Look::StartLF,
                    ('^', false) => Look::Start,
                    (_, true) => Look::EndLF,
                    (_, false) => Look::End,
                }))
            }
            '.' => {
                self.skip(1);
                self.push_group(&Group::dot(self.flags.dot_line_feed))
            }
            '[' => self.bracket(),
            '*' | '+' | '?' => {
                let (min, max) = match character {
                    '*' => (0, None),
                    '+' => (1, None),
                    _ => (0, Some(1)),
                };
                self.repeat(1, min, max, after_repetition)
            }
            '{' => match counts(self.rest) {
                Some((length, min, max)) => self.repeat(length, min, max, after_repetition),
                None => self.literal_character(character),
            },
            '\\' => self.backslash(),
            other => self.literal_character(other),
        }
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }

    fn current(&mut self) -> &mut Open {
        self.open
            .last_mut()
            .expect("the whole expression is never closed while it is read")
    }

    fn push(&mut self, node: Node) -> Result<(), RegexError> {
        let node = checked(node)?;
        self.current().sequence.push(node);
        Ok(())
    }

    fn push_group(&mut self, group: &Group) -> Result<(), RegexError> {
        self.push(Node::class(group.class()))
    }

    fn literal_character(&mut self, character: char) -> Result<(), RegexError> {
        self.skip(character.len_utf8());
        self.literal(character)
    }

    fn literal(&mut self, character: char) -> Result<(), RegexError> {
        let folded = self.flags.ignore_case.then(|| cases(character)).flatten();
        self.push(match folded {
            Some(class) => Node::class(class),
            None => Node::literal(character),
        })
    }

    fn open_capture(&mut self) {
        self.groups += 1;
        let capture = Some(self.groups);
        self.open_group(capture, self.flags);
    }

    fn open_group(&mut self, capture: Option<u32>, inside: Flags) {
        self.open.push(Open {
            capture,
            outside: self.flags,
            ..Open::default()
        });
        self.flags = inside;
    }

    fn close_group(&mut self) -> Result<(), RegexError> {
        if self.open.len() < 2 {
            return Err(RegexError::UnexpectedParenthesis);
        }
        self.skip(1);
        let group = self.open.pop().ok_or(RegexError::UnexpectedParenthesis)?;
        self.flags = group.outside;
        self.push(group.close())
    }

    /// `(?P<name>`, `(?<name>`, `(?flags)` and `(?flags:`.
    fn perl_group(&mut self) -> Result<(), RegexError> {
        let whole = self.rest;
        let inner = &whole[2..];
        let named = inner.strip_prefix("P<").or_else(|| inner.strip_prefix('<'));
        if let Some(named) = named {
            let bad = || RegexError::Group(quote(whole));
            let (name, after) = named.split_once('>').ok_or_else(bad)?;
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(word) {
                return Err(bad());
            }
            if !self.names.insert(name) {
                return Err(RegexError::DuplicateName(quote(name)));
            }
            self.rest = after;
            self.open_capture();
            return Ok(());
        }
        let end = inner.find([':', ')']);
        let (flags, end) = end
            .and_then(|end| Some((self.flags.changed(&inner[..end])?, end)))
            .ok_or_else(|| RegexError::Group(quote(whole)))?;
        let scoped = inner[end..].starts_with(':');
        self.skip(2 + end + 1);
        match scoped {
            true => self.open_group(None, flags),
            false => self.flags = flags,
        }
        Ok(())
    }

    fn repeat(
        &mut self,
        length: usize,
        min: u32,
        max: Option<u32>,
        after_repetition: bool,
    ) -> Result<(), RegexError> {
        let operator = &self.rest[..length];
        if after_repetition {
            return Err(RegexError::RepeatedRepetition(quote(operator)));
        }
        let node = self.current().sequence.pop();
        let node = node.ok_or_else(|| RegexError::NothingToRepeat(quote(operator)))?;
        let lazy = self.rest[length..].starts_with('?');
        let node = Node::repeat(node, min, max, lazy == self.flags.swap_greed);
        let legal = max.is_none_or(|max| min <= max) && min <= REPEAT_MAX;
        if !legal || node.repeats > REPEAT_MAX {
            return Err(RegexError::RepeatCount(quote(operator)));
        }
        self.skip(length + usize::from(lazy));
        self.after_repetition = true;
        self.push(node)
    }

    /// An escape outside of brackets.
    fn backslash(&mut self) -> Result<(), RegexError> {
        let Some(letter) = self.rest[1..].chars().next() else {
            return Err(RegexError::Escape("\\".to_owned()));
        };
        let look = match letter {
            'A' => Some(Look::Start),
            'z' => Some(Look::End),
            'b' => Some(Look::WordAscii),
            'B' => Some(Look::WordAsciiNegate),
            _ => None,
        };
        if let Some(look) = look {
            self.skip(2);
            return self.push(Node::look(look));
        }
        if letter == 'Q' {
            return self.quoted();
        }
        if let Some(group) = self.group_escape()? {
            return self.push_group(&group);
        }
        let code = self.escape()?;
        match char::from_u32(code) {
            Some(character) => self.literal(character),
            // A surrogate, which no text has.
            None => {
                let (nothing, _) = Bracket::default().class(false, false);
                self.push(Node::class(nothing))
            }
        }
    }

    /// `\Q...\E`: text as it is, to the end if there is no `\E`.
    fn quoted(&mut self) -> Result<(), RegexError> {
        let inner = &self.rest[2..];
        let (text, after) = inner.split_once("\\E").unwrap_or((inner, ""));
        for character in text.chars() {
            self.literal(character)?;
        }
        self.rest = after;
        Ok(())
    }

    /// `\d`, `\pL` and the like; nothing, and nothing is read, if it is none.
    fn group_escape(&mut self) -> Result<Option<Group>, RegexError> {
        let fold = self.flags.ignore_case;
        let Some(letter) = self.rest.strip_prefix('\\').and_then(|t| t.chars().next()) else {
            return Ok(None);
        };
        if let Some(group) = Group::perl(letter, fold) {
            self.skip(2);
            return Ok(Some(group));
        }
        if !matches!(letter, 'p' | 'P') {
            return Ok(None);
        }
        let after = &self.rest[2..];
        let name_length = match after.strip_prefix('{') {
            Some(named) => named.find('}').map(|end| (1, end, 1)),
            None => after.chars().next().map(|c| (0, c.len_utf8(), 0)),
        };
        let bad = RegexError::Class(quote(self.rest));
        let Some((before, length, behind)) = name_length else {
            return Err(bad);
        };
        let name = &after[before..before + length];
        let group = Group::unicode(name, letter == 'P', fold).ok_or(bad)?;
        self.skip(2 + before + length + behind);
        Ok(Some(group))
    }

    /// An escape that is one character, by its number.
    fn escape(&mut self) -> Result<u32, RegexError> {
        let after = &self.rest[1..];
        let (code, length) =
            escape(after).ok_or_else(|| RegexError::Escape(quote_escape(self.rest)))?;
        self.skip(1 + length);
        Ok(code)
    }

    fn bracket(&mut self) -> Result<(), RegexError> {
        let whole = self.rest;
        let fold = self.flags.ignore_case;
        self.skip(1);
        let negated = self.rest.starts_with('^');
        self.skip(usize::from(negated));
        let mut bracket = Bracket::default();
        let mut first = true;
        loop {
            match self.rest.chars().next() {
                None => return Err(RegexError::MissingBracket),
                Some(']') if !first => break,
                Some(_) => {}
            }
            first = false;
            self.bracket_item(&mut bracket)?;
        }
        self.skip(1);
        let text = &whole[..whole.len() - self.rest.len()];
        if let Some(class) = self.brackets.get(&(text, fold)) {
            let class = class.clone();
            return self.push(Node::class(class));
        }
        let (class, ranges) = bracket.class(negated, fold);
        self.work += STEPS_PER_RANGE * ranges;
        self.brackets.insert((text, fold), class.clone());
        self.push(Node::class(class))
    }

    fn bracket_item(&mut self, bracket: &mut Bracket) -> Result<(), RegexError> {
        if let Some(named) = self.rest.strip_prefix("[:")
            && let Some(end) = named.find(":]")
        {
            let group = Group::posix(&named[..end], self.flags.ignore_case);
            bracket.group(group.ok_or_else(|| RegexError::Class(quote(self.rest)))?);
            self.skip(end + 4);
            return Ok(());
        }
        if let Some(group) = self.group_escape()? {
            bracket.group(group);
            return Ok(());
        }
        let before = self.rest;
        let start = self.bracket_character()?;
        let ranges = self.rest.starts_with('-')
            && !matches!(&self.rest[1..], "")
            && !self.rest.starts_with("-]");
        if !ranges {
            bracket.range(start, start);
            return Ok(());
        }
        self.skip(1);
        let end = self.bracket_character()?;
        if end < start {
            return Err(RegexError::Class(quote(
                &before[..before.len() - self.rest.len()],
            )));
        }
        bracket.range(start, end);
        Ok(())
    }

    fn bracket_character(&mut self) -> Result<u32, RegexError> {
        match self.rest.chars().next() {
            None => Err(RegexError::MissingBracket),
            Some('\\') => self.escape(),
            Some(character) => {
                self.skip(character.len_utf8());
                Ok(character.into())
            }
        }
    }
}

impl Flags {
    /// With the flags of `(?flags)`; nothing if RE2 does not know one.
    fn changed(mut self, text: &str) -> Option<Self> {
        let mut on = true;
        let mut said = true;
        for letter in text.chars() {
            let flag = match letter {
                'i' => &mut self.ignore_case,
                'm' => &mut self.multi_line,
                's' => &mut self.dot_line_feed,
                'U' => &mut self.swap_greed,
                '-' if on => {
                    on = false;
                    said = false;
                    continue;
                }
                _ => return None,
            };
            *flag = on;
            said = true;
        }
        said.then_some(self)
    }
}

/// `{2}`, `{2,}` or `{2,3}` at the beginning: its length and its counts. Anything else is a plain brace.
fn counts(text: &str) -> Option<(usize, u32, Option<u32>)> {
    let (inner, _) = text.strip_prefix('{')?.split_once('}')?;
    // A number with a leading zero is none. One that is too large is refused, as Go does it.
    let number = |digits: &str| {
        let legal = !digits.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit())
            && (digits.len() == 1 || !digits.starts_with('0'));
        legal.then(|| digits.parse().unwrap_or(u32::MAX))
    };
    let length = inner.len() + 2;
    match inner.split_once(',') {
        None => number(inner).map(|n| (length, n, Some(n))),
        Some((min, "")) => number(min).map(|min| (length, min, None)),
        Some((min, max)) => Some((length, number(min)?, Some(number(max)?))),
    }
}

/// The number of the character that an escape stands for, and the length after the backslash.
fn escape(text: &str) -> Option<(u32, usize)> {
    let letter = text.chars().next()?;
    let one = |code: char| Some((u32::from(code), 1));
    match letter {
        'a' => one('\x07'),
        'f' => one('\x0c'),
        'n' => one('\n'),
        'r' => one('\r'),
        't' => one('\t'),
        'v' => one('\x0b'),
        'x' => hexadecimal(&text[1..]).map(|(code, length)| (code, length + 1)),
        '0'..='7' => octal(text),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => one(c),
        _ => None,
    }
}

/// `41` or `{1F600}`.
fn hexadecimal(text: &str) -> Option<(u32, usize)> {
    let (digits, length) = match text.strip_prefix('{') {
        Some(braced) => {
            let (digits, _) = braced.split_once('}')?;
            (digits, digits.len() + 2)
        }
        None => (text.get(..2)?, 2),
    };
    let legal = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let digits = digits.trim_start_matches('0');
    let code = match (legal, digits) {
        (false, _) => return None,
        (true, "") => 0,
        (true, digits) => u32::from_str_radix(digits, 16).ok()?,
    };
    (code <= u32::from(char::MAX)).then_some((code, length))
}

/// Up to three digits. One digit other than zero would refer to a group.
fn octal(text: &str) -> Option<(u32, usize)> {
    let digits = text.bytes().take(3);
    let length = digits.take_while(|b| (b'0'..=b'7').contains(b)).count();
    if length == 1 && !text.starts_with('0') {
        return None;
    }
    let code = u32::from_str_radix(&text[..length], 8).ok()?;
    Some((code, length))
}

fn quote_escape(text: &str) -> String {
    text.chars().take(2).collect()
}
