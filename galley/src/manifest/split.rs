//! Cuts a file into YAML documents at its `---` lines.
//!
//! The YAML parser gives up on the whole stream at the first broken document, so
//! the cut is made before parsing: each document is parsed alone and a broken one
//! leaves its neighbours untouched. Every part remembers the line it starts on.

/// One document of a file, still as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// Lines of the file before the first line of `text`.
    pub(super) line_offset: u32,
    /// The document's text, without its separator lines.
    pub(super) text: &'a str,
}

/// Splits `text` at lines that begin with `---`, passing over parts that hold
/// nothing but blank lines and comments.
pub(super) fn split(text: &str) -> Vec<Part<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parts = Vec::new();
    let mut start = 0;
    let mut start_line = 0;
    let mut offset = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if is_separator(line) {
            push(&mut parts, &text[start..offset], start_line);
            start = offset + after_marker(line);
            // Content may follow the marker on its own line (`--- {kind: Pod}`).
            start_line = number as u32 + u32::from(after_marker(line) == line.len());
        }
        offset += line.len();
    }
    push(&mut parts, &text[start..], start_line);
    parts
}

fn push<'a>(parts: &mut Vec<Part<'a>>, text: &'a str, line_offset: u32) {
    let blank = text.lines().map(str::trim_start).all(|line| {
        line.is_empty() || line.starts_with('#') || line.starts_with('%') || line == "..."
    });
    if !blank {
        parts.push(Part { line_offset, text });
    }
}

/// `---` counts only at the very start of a line and followed by white space or
/// the line's end; inside a block scalar it is indented, so it never matches there.
fn is_separator(line: &str) -> bool {
    line.strip_prefix("---")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Bytes of a separator line that belong to the separator: the whole line, unless
/// a value follows the marker.
fn after_marker(line: &str) -> usize {
    let rest = line[3..].trim_start();
    if rest.is_empty() || rest.starts_with('#') {
        line.len()
    } else {
        3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(u32, &str)]) {
        let parts: Vec<_> = split(text)
            .into_iter()
            .map(|p| (p.line_offset, p.text))
            .collect();
        assert_eq!(parts, expected);
    }

    #[test]
    fn one_document() {
        check("a: 1\n", &[(0, "a: 1\n")]);
    }

    #[test]
    fn keeps_the_line_of_each_document() {
        check(
            "a: 1\n---\nb: 2\n---  # note\nc: 3",
            &[(0, "a: 1\n"), (2, "b: 2\n"), (4, "c: 3")],
        );
    }

    #[test]
    fn passes_over_empty_and_commented_parts() {
        check("# licence\n---\n\n---\na: 1\n---\n", &[(4, "a: 1\n")]);
    }

    #[test]
    fn an_indented_marker_is_content() {
        check("a: |\n  ---\n  x\n", &[(0, "a: |\n  ---\n  x\n")]);
    }

    #[test]
    fn a_value_may_follow_the_marker() {
        check(
            "--- {a: 1}\n--- {b: 2}\n",
            &[(0, " {a: 1}\n"), (1, " {b: 2}\n")],
        );
    }

    #[test]
    fn windows_line_ends() {
        check(
            "a: 1\r\n---\r\nb: 2\r\n",
            &[(0, "a: 1\r\n"), (2, "b: 2\r\n")],
        );
    }
}
