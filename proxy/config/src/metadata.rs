//! Opaque metadata (`envoy.config.core.v3.Metadata`): what the control plane attaches to endpoints, clusters
//! and routes, as values that can be compared and hashed.
//!
//! Fields are sorted slices: there are few of them, they never change, and every endpoint has some, so that the
//! nodes of a map would be most of an endpoint's memory.

use std::sync::LazyLock;

/// Metadata by filter name (`filter_metadata`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Metadata(Vec<(Box<str>, Struct)>);

/// `google.protobuf.Struct`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Struct(Box<[(Box<str>, Value)]>);

/// `google.protobuf.Value`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    String(Box<str>),
    /// A list.
    List(Vec<Value>),
    /// A struct.
    Struct(Struct),
}

/// Where a value stands in metadata: `filter:key:key`, as formats write it (`%DYNAMIC_METADATA(...)%`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataKey {
    filter: Box<str>,
    path: Vec<Box<str>>,
}

/// A number, equal if its bits are. Negative zero is zero, as in protobuf's own comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Number(u64);

static EMPTY: LazyLock<Struct> = LazyLock::new(Struct::default);

impl Metadata {
    /// The fields of one filter; empty if there are none.
    pub fn filter(&self, name: &str) -> &Struct {
        let found = self.0.binary_search_by(|(known, _)| (**known).cmp(name));
        found.map_or(&EMPTY, |at| &self.0[at].1)
    }

    /// The value at a path of keys below a filter's fields.
    pub fn path<'a>(
        &self,
        filter: &str,
        path: impl IntoIterator<Item = &'a str>,
    ) -> Option<&Value> {
        let mut path = path.into_iter();
        let mut value = self.filter(filter).get(path.next()?)?;
        for key in path {
            let Value::Struct(fields) = value else {
                return None;
            };
            value = fields.get(key)?;
        }
        Some(value)
    }

    /// True if there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets the fields of one filter.
    pub fn insert(&mut self, filter: &str, fields: Struct) {
        match self.0.binary_search_by(|(known, _)| (**known).cmp(filter)) {
            Ok(at) => self.0[at].1 = fields,
            Err(at) => self.0.insert(at, (filter.into(), fields)),
        }
    }

    /// The filters and their fields.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Struct)> {
        self.0.iter().map(|(name, fields)| (&**name, fields))
    }
}

impl MetadataKey {
    /// From its text; `None` without a filter.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':').map(Box::<str>::from);
        let filter = parts.next().filter(|filter| !filter.is_empty())?;
        Some(Self {
            filter,
            path: parts.collect(),
        })
    }

    /// The value as JSON; all fields of the filter if no key is given.
    pub fn json(&self, metadata: Option<&Metadata>) -> Option<serde_json::Value> {
        let metadata = metadata?;
        if self.path.is_empty() {
            let fields = metadata.filter(&self.filter);
            return (!fields.is_empty()).then(|| fields.to_json());
        }
        let path = self.path.iter().map(|key| &**key);
        let value = metadata.path(&self.filter, path)?;
        (*value != Value::Null).then(|| value.to_json())
    }

    /// The value as text: a string as it is, anything else as JSON.
    pub fn text(&self, metadata: Option<&Metadata>) -> Option<String> {
        Some(match self.json(metadata)? {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        })
    }
}

impl Struct {
    /// The value of a field.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let at = self
            .0
            .binary_search_by(|(known, _)| (**known).cmp(key))
            .ok()?;
        Some(&self.0[at].1)
    }

    /// The fields, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }

    /// True if there are no fields.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These fields, and those of `base` that are not among them.
    #[must_use]
    pub fn over(&self, base: &Self) -> Self {
        self.0.iter().chain(&base.0).cloned().collect()
    }

    /// True if every field is in `other` with an equal value.
    pub fn is_subset_of(&self, other: &Self) -> bool {
        self.iter()
            .all(|(key, value)| other.get(key) == Some(value))
    }

    /// The string under a key.
    pub fn string(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// As a JSON object.
    pub fn to_json(&self) -> serde_json::Value {
        let members = self
            .iter()
            .map(|(key, value)| (key.to_owned(), value.to_json()));
        serde_json::Value::Object(members.collect())
    }
}

impl FromIterator<(Box<str>, Value)> for Struct {
    /// Of fields with one name the first one stays.
    fn from_iter<I: IntoIterator<Item = (Box<str>, Value)>>(fields: I) -> Self {
        let mut fields: Vec<_> = fields.into_iter().collect();
        fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        fields.dedup_by(|(later, _), (earlier, _)| later == earlier);
        Self(fields.into())
    }
}

impl Value {
    /// The text of a string value.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Number(number) => number.to_json(),
            Self::String(text) => (&**text).into(),
            Self::List(values) => values.iter().map(Self::to_json).collect(),
            Self::Struct(fields) => fields.to_json(),
        }
    }
}

impl Number {
    /// The number.
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }

    /// Integers without a fraction, as protobuf's JSON has them.
    fn to_json(self) -> serde_json::Value {
        /// Beyond 2^53 a double no longer names one integer.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let number = self.get();
        if number.fract() == 0.0 && number.abs() <= EXACT {
            return (number as i64).into();
        }
        number.into()
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        Self(if number == 0.0 { 0 } else { number.to_bits() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Value {
        Value::String(value.into())
    }

    fn fields(pairs: &[(&str, Value)]) -> Struct {
        pairs
            .iter()
            .map(|(key, value)| ((*key).into(), value.clone()))
            .collect()
    }

    #[test]
    fn a_subset_has_equal_values_for_all_its_keys() {
        let all = fields(&[("a", text("1")), ("b", Value::Bool(true))]);
        assert!(fields(&[]).is_subset_of(&all));
        assert!(fields(&[("a", text("1"))]).is_subset_of(&all));
        assert!(!fields(&[("a", text("2"))]).is_subset_of(&all));
        assert!(!fields(&[("c", text("1"))]).is_subset_of(&all));
    }

    #[test]
    fn paths_lead_into_structs_only() {
        let mut metadata = Metadata::default();
        metadata.insert(
            "istio",
            fields(&[("a", Value::Struct(fields(&[("b", text("x"))])))]),
        );
        assert_eq!(metadata.path("istio", ["a", "b"]), Some(&text("x")));
        assert_eq!(metadata.path("istio", ["a", "b", "c"]), None);
        assert_eq!(metadata.path("other", ["a"]), None);
        assert_eq!(metadata.path("istio", []), None);
    }

    #[test]
    fn keys_lead_to_text_and_json() {
        let mut metadata = Metadata::default();
        let inner = fields(&[("n", Value::Number(1.0.into())), ("none", Value::Null)]);
        let all = [("s", text("x y")), ("in", Value::Struct(inner))];
        metadata.insert("f", fields(&all));
        let found = |key: &str| MetadataKey::parse(key).unwrap().text(Some(&metadata));
        assert_eq!(found("f:s").as_deref(), Some("x y"));
        assert_eq!(found("f:in:n").as_deref(), Some("1"));
        assert_eq!(found("f:in:none"), None);
        let whole = r#"{"in":{"n":1,"none":null},"s":"x y"}"#;
        assert_eq!(found("f").as_deref(), Some(whole));
        assert_eq!(found("g"), None);
        assert_eq!(MetadataKey::parse(""), None);
    }

    #[test]
    fn json_has_whole_numbers_without_fraction() {
        let value = Value::List(vec![
            Value::Number(3.0.into()),
            Value::Number(0.5.into()),
            Value::Null,
        ]);
        assert_eq!(value.to_json().to_string(), "[3,0.5,null]");
        assert_eq!(Number::from(-0.0), Number::from(0.0));
    }
}
