//! Label selectors, as Kubernetes has them.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A `LabelSelector`. An empty one matches nothing here: an operator who selects everything means the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Selector {
    match_labels: BTreeMap<String, String>,
    match_expressions: Vec<Expression>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Expression {
    key: String,
    operator: Operator,
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl Selector {
    /// Whether labels satisfy everything that it asks for.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        if self.match_labels.is_empty() && self.match_expressions.is_empty() {
            return false;
        }
        let has = |(key, value): (&String, &String)| labels.get(key) == Some(value);
        self.match_labels.iter().all(has)
            && self
                .match_expressions
                .iter()
                .all(|expression| expression.matches(labels))
    }
}

impl Expression {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let is_listed = value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            Operator::In => is_listed,
            Operator::NotIn => !is_listed,
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn matches(selector: Value, labels: Value) -> bool {
        let selector: Selector = serde_json::from_value(selector).unwrap();
        selector.matches(&serde_json::from_value(labels).unwrap())
    }

    fn expression(operator: &str, values: &[&str]) -> Value {
        json!({"matchExpressions": [{"key": "tier", "operator": operator, "values": values}]})
    }

    #[test]
    fn labels_and_expressions_all_have_to_hold() {
        assert!(!matches(json!({}), json!({"a": "b"})));
        let both = json!({
            "matchLabels": {"app": "x"},
            "matchExpressions": [{"key": "tier", "operator": "Exists"}],
        });
        assert!(matches(both.clone(), json!({"app": "x", "tier": "front"})));
        assert!(!matches(both.clone(), json!({"app": "x"})));
        assert!(!matches(both, json!({"app": "y", "tier": "front"})));
    }

    #[test]
    fn operators_are_kubernetes() {
        let front = || json!({"tier": "front"});
        assert!(matches(expression("In", &["front", "back"]), front()));
        assert!(!matches(expression("In", &["back"]), front()));
        assert!(matches(expression("NotIn", &["back"]), front()));
        assert!(matches(expression("NotIn", &["back"]), json!({})));
        assert!(matches(expression("DoesNotExist", &[]), json!({})));
        assert!(!matches(expression("DoesNotExist", &[]), front()));
    }
}
