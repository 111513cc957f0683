//! Fields of a schema, and what they are filled with.

use std::fmt;

use serde_json::{Value, json};

/// The way to a value that holds no others.
#[derive(Debug, Clone)]
pub(super) struct Field {
    steps: Vec<Step>,
    leaf: Leaf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    /// An item of a list.
    Item,
    /// A value of a mapping with free keys.
    Key,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Leaf {
    Text,
    Number,
    Boolean,
    Choice(String),
    Anything,
}

/// What makes a field expensive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filling {
    /// One long text.
    LongText,
    /// One entry with a long key.
    LongKey,
    /// Values that nest as deep as JSON may.
    Deep,
    /// Many values, all different, in the list or mapping at this step.
    Many(usize),
    /// The same with values that are not legal.
    ManyBad(usize),
    /// The same with expressions of this family.
    ManyExpressions(usize, usize),
}

/// Expressions whose programs, or whose reading, cost much; `{}` makes each another one.
const EXPRESSIONS: [&str; 5] = [
    r"\w{500}{}",
    r".{1000}{}",
    r"{}(?i)[\pL\pM\pN\pP\pS\pZ]",
    r"((a?){30}(b?){30}{}){30}",
    "{}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

/// Levels of [`Filling::Deep`]: JSON ends at 128, around which the object stands.
const LEVELS: usize = 100;

impl Field {
    /// All fields below a schema.
    pub(super) fn of(schema: &Value) -> Vec<Self> {
        let mut fields = Vec::new();
        collect(schema, &mut Vec::new(), &mut fields);
        fields
    }

    pub(super) fn levels(&self) -> usize {
        self.steps.len()
    }

    pub(super) fn fillings(&self) -> Vec<Filling> {
        let containers =
            |(at, step): (usize, &Step)| (*step == Step::Item || *step == Step::Key).then_some(at);
        let repeated: Vec<usize> = self
            .steps
            .iter()
            .enumerate()
            .filter_map(containers)
            .collect();
        let ends = match repeated[..] {
            [] => Vec::new(),
            [only] => vec![only],
            [first, .., last] => vec![first, last],
        };
        let mut fillings = Vec::new();
        for at in ends {
            fillings.push(Filling::Many(at));
            if self.leaf == Leaf::Text {
                fillings.push(Filling::ManyBad(at));
            }
            if self.is_expression() {
                let families = 0..EXPRESSIONS.len();
                fillings.extend(families.map(|family| Filling::ManyExpressions(at, family)));
            }
        }
        match self.leaf {
            Leaf::Text => fillings.push(Filling::LongText),
            Leaf::Anything => fillings.push(Filling::Deep),
            _ => {}
        }
        if self.steps.contains(&Step::Key) {
            fillings.push(Filling::LongKey);
        }
        fillings
    }

    fn is_expression(&self) -> bool {
        let last = |name: &str| matches!(self.steps.last(), Some(Step::Name(last)) if last == name);
        let within = |name: &str| self.steps.contains(&Step::Name(name.to_owned()));
        self.leaf == Leaf::Text
            && (last("regex")
                || last("match")
                || last("value") && within("matches")
                || (last("service") || last("method")) && within("matches"))
    }

    /// The object with the field filled: `count` values, or a text of `count` bytes.
    pub(super) fn filled(&self, template: &Value, filling: Filling, count: usize) -> Value {
        self.place(Some(template), 0, filling, count, 0)
    }

    fn place(
        &self,
        template: Option<&Value>,
        at: usize,
        filling: Filling,
        count: usize,
        number: usize,
    ) -> Value {
        let Some(step) = self.steps.get(at) else {
            return self.leaf(filling, count, number);
        };
        let repeats = matches!(filling, Filling::Many(step) | Filling::ManyBad(step) | Filling::ManyExpressions(step, _) if step == at);
        let numbers = if repeats {
            0..count
        } else {
            number..number + 1
        };
        match step {
            Step::Name(name) => {
                let mut object = template
                    .filter(|value| value.is_object())
                    .cloned()
                    .unwrap_or_else(|| json!({}));
                let inner = template.and_then(|template| template.get(name));
                object[name] = self.place(inner, at + 1, filling, count, number);
                if matches!(filling, Filling::ManyExpressions(..))
                    && self.is_expression()
                    && at + 1 == self.steps.len()
                    && name != "regex"
                    && name != "match"
                {
                    object["type"] = json!("RegularExpression");
                }
                object
            }
            Step::Item => {
                let inner = template.and_then(|template| template.get(0));
                numbers
                    .map(|number| self.place(inner, at + 1, filling, count, number))
                    .collect()
            }
            Step::Key => {
                let entry = |number: usize| {
                    let key = match filling {
                        Filling::LongKey => "k".repeat(count),
                        Filling::ManyBad(_) => format!("-bad key_{number}"),
                        _ => number.to_string(),
                    };
                    (key, self.place(None, at + 1, filling, count, number))
                };
                Value::Object(numbers.map(entry).collect())
            }
        }
    }

    fn leaf(&self, filling: Filling, count: usize, number: usize) -> Value {
        match (&self.leaf, filling) {
            (_, Filling::Deep) => (0..LEVELS).fold(json!([]), |inner, _| json!([inner])),
            (Leaf::Text, Filling::LongText) => json!("a".repeat(count)),
            (Leaf::Text, Filling::ManyBad(_)) => json!(format!("*{number}*%_{{a**[")),
            (Leaf::Text, Filling::ManyExpressions(_, family)) => {
                json!(EXPRESSIONS[family].replace("{}", &number.to_string()))
            }
            (Leaf::Text, _) => json!(self.text(number)),
            (Leaf::Number, _) => json!(number % 65_535 + 1),
            (Leaf::Boolean, _) => json!(true),
            (Leaf::Choice(name), _) => json!(name),
            (Leaf::Anything, _) => json!({"a": number}),
        }
    }

    /// A legal value, as far as the names of fields say what that is.
    fn text(&self, number: usize) -> String {
        let has = |part: &str| {
            let named = |step: &Step| matches!(step, Step::Name(name) if name.to_lowercase().contains(part));
            self.steps.iter().rev().take(3).any(named)
        };
        let [_, b, c, d] = (number as u32).to_be_bytes();
        match () {
            () if has("host") && has("egress") => format!("*/h{number}.example.com"),
            () if has("host") => format!("h{number}.example.com"),
            () if has("ipblock") || has("address") || has("subnet") || has("ips") => {
                format!("10.{b}.{c}.{d}")
            }
            () if has("timeout") || has("duration") || has("interval") => {
                format!("{}s", number % 3600 + 1)
            }
            () if has("ports") => format!("{}", number % 65_535 + 1),
            () => format!("n{number}"),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.steps.iter().enumerate() {
            match step {
                Step::Name(name) if at == 0 => f.write_str(name)?,
                Step::Name(name) => write!(f, ".{name}")?,
                Step::Item => f.write_str("[]")?,
                Step::Key => f.write_str("{}")?,
            }
        }
        Ok(())
    }
}

fn collect(schema: &Value, steps: &mut Vec<Step>, fields: &mut Vec<Field>) {
    let below = |step: Step, part: &Value, steps: &mut Vec<Step>, fields: &mut Vec<Field>| {
        steps.push(step);
        collect(part, steps, fields);
        steps.pop();
    };
    if let Some(Value::Object(properties)) = schema.get("properties") {
        for (name, part) in properties {
            below(Step::Name(name.clone()), part, steps, fields);
        }
        return;
    }
    if let Some(items) = schema.get("items") {
        return below(Step::Item, items, steps, fields);
    }
    if let Some(values) = schema
        .get("additionalProperties")
        .filter(|values| values.is_object())
    {
        return below(Step::Key, values, steps, fields);
    }
    let choice = schema["enum"].get(0).and_then(Value::as_str);
    let leaf = match (schema["type"].as_str(), choice) {
        (_, Some(choice)) => Leaf::Choice(choice.to_owned()),
        (Some("string"), _) => Leaf::Text,
        (Some("integer" | "number"), _) => Leaf::Number,
        (Some("boolean"), _) => Leaf::Boolean,
        _ => Leaf::Anything,
    };
    fields.push(Field {
        steps: steps.clone(),
        leaf,
    });
}
