//! `envoy.type.matcher.v3.MetadataMatcher`, as executed.

use super::StringMatcher;
use crate::metadata::{Metadata, Value};

/// A value in metadata, and what it must look like.
#[derive(Debug, Clone)]
pub struct MetadataMatcher {
    /// Whose metadata.
    pub filter: Box<str>,
    /// The keys that lead to the value.
    pub path: Vec<Box<str>>,
    /// What it must look like.
    pub value: ValueMatcher,
    /// Match if the value does not.
    pub invert: bool,
}

/// `envoy.type.matcher.v3.ValueMatcher`.
#[derive(Debug, Clone)]
pub enum ValueMatcher {
    /// `null_match`.
    Null,
    /// `double_match.exact`.
    Number(f64),
    /// `double_match.range`: from the first to below the second.
    Range(f64, f64),
    /// `string_match`.
    String(StringMatcher),
    /// `bool_match`.
    Bool(bool),
    /// `present_match`; false never matches.
    Present(bool),
    /// `list_match.one_of`: one element matches.
    OneOf(Box<ValueMatcher>),
    /// `or_match`: one of these.
    Or(Vec<ValueMatcher>),
}

impl MetadataMatcher {
    /// True if the metadata matches. What is missing matches nothing.
    pub fn matches(&self, metadata: Option<&Metadata>) -> bool {
        let path = self.path.iter().map(|key| &**key);
        let value = metadata.and_then(|metadata| metadata.path(&self.filter, path));
        value.is_some_and(|value| self.value.matches(value)) != self.invert
    }
}

impl ValueMatcher {
    fn matches(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Null, Value::Null) => true,
            (Self::Number(exact), Value::Number(number)) => number.get() == *exact,
            (Self::Range(start, end), Value::Number(number)) => {
                (*start..*end).contains(&number.get())
            }
            (Self::String(matcher), Value::String(text)) => matcher.matches(text.as_bytes()),
            (Self::Bool(wanted), Value::Bool(value)) => wanted == value,
            (Self::Present(wanted), _) => *wanted,
            (Self::OneOf(matcher), Value::List(values)) => {
                values.iter().any(|value| matcher.matches(value))
            }
            (Self::Or(matchers), value) => matchers.iter().any(|m| m.matches(value)),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Struct;

    fn check(matcher: ValueMatcher, value: Value, expected: bool) {
        let mut metadata = Metadata::default();
        let fields: Struct = [("key".into(), value)].into_iter().collect();
        metadata.insert("filter", fields);
        let mut matcher = MetadataMatcher {
            filter: "filter".into(),
            path: vec!["key".into()],
            value: matcher,
            invert: false,
        };
        assert_eq!(matcher.matches(Some(&metadata)), expected, "{matcher:?}");
        assert!(!matcher.matches(None));
        matcher.invert = true;
        assert_eq!(matcher.matches(Some(&metadata)), !expected, "{matcher:?}");
        assert!(matcher.matches(None));
    }

    #[test]
    fn values_match_by_type() {
        let text = |text: &str| Value::String(text.into());
        let number = |number: f64| Value::Number(number.into());
        let exact = |text: &str| ValueMatcher::String(StringMatcher::exact(text, false));
        check(exact("a"), text("a"), true);
        check(exact("a"), text("b"), false);
        check(exact("1"), number(1.0), false);
        check(ValueMatcher::Number(1.0), number(1.0), true);
        check(ValueMatcher::Range(1.0, 2.0), number(1.0), true);
        check(ValueMatcher::Range(1.0, 2.0), number(2.0), false);
        check(ValueMatcher::Bool(true), Value::Bool(true), true);
        check(ValueMatcher::Bool(true), Value::Bool(false), false);
        check(ValueMatcher::Null, Value::Null, true);
        check(ValueMatcher::Present(true), Value::Null, true);
        check(ValueMatcher::Present(false), Value::Null, false);
        let list = Value::List(vec![text("a"), text("b")]);
        check(
            ValueMatcher::OneOf(Box::new(exact("b"))),
            list.clone(),
            true,
        );
        check(ValueMatcher::OneOf(Box::new(exact("c"))), list, false);
        let either = ValueMatcher::Or(vec![exact("x"), ValueMatcher::Number(2.0)]);
        check(either.clone(), number(2.0), true);
        check(either, number(3.0), false);
    }
}
