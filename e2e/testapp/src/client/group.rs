//! What answers are counted by.

use std::str::FromStr;

use regex::Regex;

use super::Answer;

/// A part of an answer.
#[derive(Debug, Clone)]
pub enum Group {
    /// A response header.
    Header(String),
    /// A place in a JSON body.
    Json(String),
    /// The first group of a regular expression over the body, or its whole match.
    Body(Regex),
    /// The first word of the body.
    Line,
}

/// The text is not one of the forms.
#[derive(Debug, thiserror::Error)]
#[error("not one of header:NAME, json:/POINTER, body:REGEX, line: \"{0}\"")]
pub struct ParseGroupError(String);

impl FromStr for Group {
    type Err = ParseGroupError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseGroupError(text.to_owned());
        match text.split_once(':') {
            Some(("header", name)) => Ok(Self::Header(name.to_ascii_lowercase())),
            Some(("json", pointer)) => Ok(Self::Json(pointer.to_owned())),
            Some(("body", regex)) => Regex::new(regex).map(Self::Body).map_err(|_| error()),
            None if text == "line" => Ok(Self::Line),
            _ => Err(error()),
        }
    }
}

impl Group {
    /// The key of `answer`; "-" where it has none.
    pub fn of(&self, answer: &Answer) -> String {
        self.find(answer).unwrap_or_else(|| "-".to_owned())
    }

    fn find(&self, answer: &Answer) -> Option<String> {
        match self {
            Self::Header(name) => answer.headers.get(name).cloned(),
            Self::Json(pointer) => {
                let body: serde_json::Value = serde_json::from_str(&answer.body).ok()?;
                let value = body.pointer(pointer)?;
                Some(
                    value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned),
                )
            }
            Self::Body(regex) => {
                let found = regex.captures(&answer.body)?;
                let part = found.get(1).or_else(|| found.get(0))?;
                Some(part.as_str().to_owned())
            }
            Self::Line => answer.body.split_whitespace().next().map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_headers_json_text_and_words() {
        let answer = Answer {
            headers: [("x-version".to_owned(), "v2".to_owned())].into(),
            body: r#"{"pod": "reviews-v3-abc", "n": 1}"#.to_owned(),
            ..Answer::default()
        };
        let key = |group: &str| group.parse::<Group>().unwrap().of(&answer);
        assert_eq!(key("header:X-Version"), "v2");
        assert_eq!(key("json:/n"), "1");
        assert_eq!(key("body:reviews-(v[0-9])"), "v3");
        assert_eq!(key("line"), "{\"pod\":");
        assert_eq!(key("json:/missing"), "-");
        assert!("size".parse::<Group>().is_err());
    }
}
