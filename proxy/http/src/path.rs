//! Cleans `:path` before anything matches on it, to the byte as Envoy does.
//!
//! The rules are those of browsers (<https://url.spec.whatwg.org/#path-state>) as Envoy applies them: dot
//! segments go, also when written `%2e`; a backslash is a slash; letters, digits and `-._~` lose their percent
//! encoding; a few characters gain it. Path parameters of literal dot segments (`/..;x/`) go first, so that
//! they cannot hide a segment. The query stays as it is.

use crate::config::http::{EscapedSlashes, PathNormalization};

/// What cleaning a path came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cleaned {
    /// Nothing had to change.
    Unchanged,
    /// The path with its query.
    Changed(String),
    /// Changed, and the client should ask again (307).
    Redirect(String),
    /// Not acceptable (400).
    Rejected,
}

/// Cleans a path with its query.
pub fn clean(options: &PathNormalization, target: &str) -> Cleaned {
    let (path, query) = match target.find('?') {
        Some(at) => target.split_at(at),
        None => (target, ""),
    };
    let mut current: Option<String> = None;
    let mut redirect = false;
    if options.escaped_slashes != EscapedSlashes::Keep
        && let Some(unescaped) = unescape_slashes(path)
    {
        if options.escaped_slashes == EscapedSlashes::Reject {
            return Cleaned::Rejected;
        }
        redirect = options.escaped_slashes == EscapedSlashes::UnescapeAndRedirect;
        current = Some(unescaped);
    }
    if options.normalize {
        match normalize(current.as_deref().unwrap_or(path)) {
            Ok(Some(normal)) => current = Some(normal),
            Ok(None) => {}
            Err(Invalid) => return Cleaned::Rejected,
        }
    }
    if options.merge_slashes
        && let Some(merged) = merge_slashes(current.as_deref().unwrap_or(path))
    {
        current = Some(merged);
    }
    match current {
        None => Cleaned::Unchanged,
        Some(path) if redirect => Cleaned::Redirect(path + query),
        Some(path) => Cleaned::Changed(path + query),
    }
}

/// A path that cannot be normalised: it contains an encoded NUL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid;

/// The path in normal form; `None` if it is in it already.
pub fn normalize(path: &str) -> Result<Option<String>, Invalid> {
    if !needs_work(path.as_bytes()) {
        return Ok(None);
    }
    let bare = strip_dot_parameters(path);
    let bytes = bare.as_bytes();
    let mut out = Vec::with_capacity(bytes.len() + 8);
    // Where the last `%` that begins no escape sequence was written.
    let mut stray = None;
    let mut at = 0;
    if !matches!(bytes.first(), Some(b'/' | b'\\')) {
        out.push(b'/');
    }
    while at < bytes.len() {
        if out.last() == Some(&b'/')
            && let Some((dots, len)) = dot_segment(&bytes[at..])
        {
            at += len;
            if dots == 2 {
                pop_segment(&mut out);
            }
            continue;
        }
        at += push_byte(&bytes[at..], &mut out, &mut stray)?;
    }
    let normal = String::from_utf8(out).expect("only ASCII was written");
    Ok((normal != path).then_some(normal))
}

/// True if some byte may have to change. Most paths need nothing but this.
fn needs_work(path: &[u8]) -> bool {
    let dotted = path.windows(2).any(|pair| pair == b"/.");
    dotted
        || path.first() != Some(&b'/')
        || path
            .iter()
            .any(|byte| class(*byte) != Class::Keep || *byte == b'%')
}

/// How a byte is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Keep,
    Escape,
    Slash,
}

fn class(byte: u8) -> Class {
    match byte {
        b'\\' => Class::Slash,
        0..=b' ' | b'"' | b'#' | b'<' | b'>' | b'?' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x7f.. => {
            Class::Escape
        }
        _ => Class::Keep,
    }
}

/// Writes the byte or escape sequence at the start of `rest`; tells how long it was.
fn push_byte(rest: &[u8], out: &mut Vec<u8>, stray: &mut Option<usize>) -> Result<usize, Invalid> {
    let byte = rest[0];
    match class(byte) {
        Class::Slash => out.push(b'/'),
        Class::Escape => push_escaped(byte, out),
        Class::Keep if byte == b'%' => {
            return match escape_sequence(rest) {
                Some(0) => Err(Invalid),
                Some(value) if is_unreserved(value) => {
                    out.push(value);
                    if let Some(stray) = *stray {
                        escape_stray(stray, rest.get(3).copied(), out);
                    }
                    Ok(3)
                }
                Some(_) => {
                    out.extend_from_slice(&rest[..3]);
                    Ok(3)
                }
                None => {
                    *stray = Some(out.len());
                    out.push(b'%');
                    Ok(1)
                }
            };
        }
        Class::Keep => out.push(byte),
    }
    Ok(1)
}

/// Writes a stray `%` as `%25` if the byte that was just unescaped makes an escape sequence of it, alone or with the
/// byte that comes `next`: `/%5%61` is not `/%5a`, which would be another path for whoever unescapes it.
fn escape_stray(stray: usize, next: Option<u8>, out: &mut Vec<u8>) {
    let sequence = match out.get(stray..) {
        Some(&[percent, high]) => next.map(|low| [percent, high, low]),
        Some(&[percent, high, low]) => Some([percent, high, low]),
        // Too far away, or in a segment that `..` has removed.
        _ => None,
    };
    if sequence.is_some_and(|sequence| escape_sequence(&sequence).is_some()) {
        out.splice(stray..=stray, *b"%25");
    }
}

fn push_escaped(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[
        b'%',
        HEX[usize::from(byte >> 4)],
        HEX[usize::from(byte & 15)],
    ]);
}

/// The value of `%XX` at the start of `rest`.
fn escape_sequence(rest: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = rest else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// A segment `.` or `..` at the start of `rest`: its dots, and its length with the slash after it.
fn dot_segment(rest: &[u8]) -> Option<(usize, usize)> {
    let mut at = 0;
    let mut dots = 0;
    while dots < 2
        && let Some(len) = dot(&rest[at..])
    {
        at += len;
        dots += 1;
    }
    match rest.get(at) {
        _ if dots == 0 => None,
        None => Some((dots, at)),
        Some(b'/' | b'\\') => Some((dots, at + 1)),
        Some(_) => None,
    }
}

fn dot(rest: &[u8]) -> Option<usize> {
    match rest {
        [b'.', ..] => Some(1),
        [b'%', b'2', b'e' | b'E', ..] => Some(3),
        _ => None,
    }
}

/// Removes the last segment before the final slash; the first slash stays.
fn pop_segment(out: &mut Vec<u8>) {
    out.pop();
    while out.last().is_some_and(|last| *last != b'/') {
        out.pop();
    }
    if out.is_empty() {
        out.push(b'/');
    }
}

/// `/..;a=b/` becomes `/../`, and likewise `/.;`.
fn strip_dot_parameters(path: &str) -> std::borrow::Cow<'_, str> {
    if !path.contains("/.;") && !path.contains("/..;") {
        return path.into();
    }
    let bare = |segment: &str| match segment.split_once(';') {
        Some((".", _)) => 1,
        Some(("..", _)) => 2,
        _ => segment.len(),
    };
    let segments: Vec<&str> = path.split('/').map(|s| &s[..bare(s)]).collect();
    segments.join("/").into()
}

/// The path with runs of slashes made one; `None` if there are none.
pub fn merge_slashes(path: &str) -> Option<String> {
    if !path.contains("//") {
        return None;
    }
    let mut merged = String::with_capacity(path.len());
    for char in path.chars() {
        if char != '/' || !merged.ends_with('/') {
            merged.push(char);
        }
    }
    Some(merged)
}

/// The path with `%2F` and `%5C` unescaped; `None` if there are none.
fn unescape_slashes(path: &str) -> Option<String> {
    let escaped = |at: usize| match path.as_bytes().get(at..at + 3) {
        Some([b'%', b'2', b'f' | b'F']) => Some('/'),
        Some([b'%', b'5', b'c' | b'C']) => Some('\\'),
        _ => None,
    };
    let first = (0..path.len()).find(|at| escaped(*at).is_some())?;
    let mut out = path[..first].to_owned();
    let mut at = first;
    while let Some(char) = path[at..].chars().next() {
        match escaped(at) {
            Some(slash) => {
                out.push(slash);
                at += 3;
            }
            None => {
                out.push(char);
                at += char.len_utf8();
            }
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests;
