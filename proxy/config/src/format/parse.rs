//! Compiles `%OPERATOR(argument):length%` to what [`super::Format`] executes.

use super::{Field, Format, HeaderSource, Op};
use crate::metadata::MetadataKey;

/// A value that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A lone `%`.
    #[error("unterminated % in \"{0}\"")]
    Unterminated(String),
    /// An operator that does not exist or is not supported in headers.
    #[error("operator \"%{0}%\" is not supported")]
    Unknown(String),
    /// A header name or a length that cannot be read.
    #[error("malformed operator \"%{0}%\"")]
    Malformed(String),
}

impl Format {
    /// Compiles a value.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let mut ops = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find('%') {
            literal.extend_from_slice(&rest.as_bytes()[..start]);
            rest = &rest[start + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                literal.push(b'%');
                rest = after;
                continue;
            }
            let end = operator_end(rest).ok_or_else(|| FormatError::Unterminated(text.into()))?;
            if !literal.is_empty() {
                ops.push(Op::Literal(std::mem::take(&mut literal).into()));
            }
            ops.push(operator(&rest[..end])?);
            rest = &rest[end + 1..];
        }
        literal.extend_from_slice(rest.as_bytes());
        if !literal.is_empty() {
            ops.push(Op::Literal(literal.into()));
        }
        Ok(Self { ops })
    }
}

/// Where the closing `%` is; one inside parentheses does not count.
fn operator_end(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'%' if depth == 0 => return Some(at),
            _ => {}
        }
    }
    None
}

fn operator(text: &str) -> Result<Op, FormatError> {
    let malformed = || FormatError::Malformed(text.into());
    let Some((name, rest)) = text.split_once('(') else {
        let field = Field::of(text).ok_or_else(|| FormatError::Unknown(text.into()));
        return field.map(Op::Field);
    };
    let (argument, tail) = rest.rsplit_once(')').ok_or_else(malformed)?;
    let max_len = match tail.strip_prefix(':') {
        Some(len) => Some(len.parse().map_err(|_| malformed())?),
        None if tail.is_empty() => None,
        None => return Err(malformed()),
    };
    let source = match name {
        "REQ" => HeaderSource::Request,
        "RESP" => HeaderSource::Response,
        "DYNAMIC_METADATA" => {
            let key = MetadataKey::parse(argument).ok_or_else(malformed)?;
            return Ok(Op::DynamicMetadata(key, max_len));
        }
        "ENVIRONMENT" => {
            let value = std::env::var(argument).unwrap_or_default();
            return Ok(Op::Environment(value.into()));
        }
        _ => return Err(FormatError::Unknown(text.into())),
    };
    let (main, alternative) = match argument.split_once('?') {
        Some((main, alternative)) => (main, Some(alternative)),
        None => (argument, None),
    };
    Ok(Op::Header {
        source,
        main: main.parse().map_err(|_| malformed())?,
        alternative: match alternative {
            Some(name) => Some(name.parse().map_err(|_| malformed())?),
            None => None,
        },
        max_len,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> Op {
        Op::Literal(text.as_bytes().into())
    }

    #[test]
    fn values_are_compiled() {
        let header = |max_len| Op::Header {
            source: HeaderSource::Request,
            main: "x-a".parse().unwrap(),
            alternative: Some(":path".parse().unwrap()),
            max_len,
        };
        for (text, expected) in [
            ("", vec![]),
            ("100%%", vec![literal("100%")]),
            ("%PROTOCOL%", vec![Op::Field(Field::Protocol)]),
            (
                "a%ROUTE_NAME%b",
                vec![literal("a"), Op::Field(Field::RouteName), literal("b")],
            ),
            ("%REQ(X-A?:path)%", vec![header(None)]),
            ("%REQ(x-a?:PATH):3%", vec![header(Some(3))]),
        ] {
            assert_eq!(Format::parse(text).unwrap().ops, expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_compiled_is_named() {
        assert_eq!(
            Format::parse("%NO_SUCH%").unwrap_err().to_string(),
            "operator \"%NO_SUCH%\" is not supported"
        );
        assert!(matches!(
            Format::parse("50%"),
            Err(FormatError::Unterminated(_))
        ));
        assert!(matches!(
            Format::parse("%REQ(a):x%"),
            Err(FormatError::Malformed(_))
        ));
    }
}
