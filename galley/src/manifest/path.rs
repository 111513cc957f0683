//! The way from an object's root to one of its fields, e.g. `spec.http[0].name`.
//!
//! A path is a chain on the stack, so walking a good object allocates nothing;
//! it becomes text only when there is something to report.

use std::fmt;

use super::node::{Node, Position, Value};

/// Names longer than this are cut short in text: keys of mappings have any length.
const NAME_BYTES_MAX: usize = 256;

/// One step of a path and the steps before it.
#[derive(Debug, Clone, Copy)]
pub struct FieldPath<'a> {
    parent: Option<&'a FieldPath<'a>>,
    segment: Segment<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Segment<'a> {
    Root,
    Field(&'a str),
    Index(usize),
}

/// A path that outlives what it was found in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Steps(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(usize),
}

impl<'a> FieldPath<'a> {
    /// The object itself.
    pub const ROOT: FieldPath<'static> = FieldPath {
        parent: None,
        segment: Segment::Root,
    };

    /// A field of what this path leads to.
    pub fn field<'b>(&'b self, name: &'b str) -> FieldPath<'b> {
        FieldPath {
            parent: Some(self),
            segment: Segment::Field(name),
        }
    }

    /// An item of the list this path leads to.
    pub fn index<'b>(&'b self, index: usize) -> FieldPath<'b> {
        FieldPath {
            parent: Some(self),
            segment: Segment::Index(index),
        }
    }

    /// The same path by itself.
    pub(crate) fn to_steps(self) -> Steps {
        let mut steps = match self.parent {
            Some(parent) => parent.to_steps(),
            None => return Steps::default(),
        };
        steps.0.push(match self.segment {
            Segment::Root => return steps,
            Segment::Field(name) => Step::Field(name.to_owned()),
            Segment::Index(index) => Step::Index(index),
        });
        steps
    }

    /// True if this is that path. The last step is compared first, so that most comparisons end there.
    pub(crate) fn is(&self, steps: &Steps) -> bool {
        let mut here = self;
        let mut left = steps.0.iter().rev();
        while let Some(parent) = here.parent {
            let same = match (here.segment, left.next()) {
                (Segment::Field(name), Some(Step::Field(step))) => name == step,
                (Segment::Index(index), Some(Step::Index(step))) => index == *step,
                _ => false,
            };
            if !same {
                return false;
            }
            here = parent;
        }
        left.next().is_none()
    }

    /// Where the field stands in `root`, or else the innermost enclosing value.
    pub fn position_in(&self, root: &Node) -> Position {
        self.resolve(root).1
    }

    /// The node at this path, and the position of the innermost node on the way.
    fn resolve<'n>(&self, root: &'n Node) -> (Option<&'n Node>, Position) {
        let Some(parent) = self.parent else {
            return (Some(root), root.position);
        };
        let (node, position) = parent.resolve(root);
        let Some(node) = node else {
            return (None, position);
        };
        match (self.segment, &node.value) {
            (Segment::Field(name), Value::Map(entries)) => {
                match entries.iter().find(|entry| is_named(&entry.key, name)) {
                    Some(entry) if is_inline(&entry.node) => {
                        (Some(&entry.node), entry.node.position)
                    }
                    Some(entry) => (Some(&entry.node), entry.key_position),
                    None => (None, position),
                }
            }
            (Segment::Index(index), Value::Seq(items)) => match items.get(index) {
                Some(item) => (Some(item), item.position),
                None => (None, position),
            },
            _ => (None, position),
        }
    }
}

/// True if a key as written is this field.
fn is_named(key: &str, name: &str) -> bool {
    key == name || key.contains('_') && camel_case(key) == name
}

/// A scalar is pointed at itself; a list or mapping, by its key.
fn is_inline(node: &Node) -> bool {
    !matches!(node.value, Value::Seq(_) | Value::Map(_) | Value::Null)
        && node.position != Position::default()
}

/// `snake_case` as the JSON name protobuf gives it.
pub(crate) fn camel_case(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut upper = false;
    for c in name.chars() {
        match c {
            '_' => upper = !camel.is_empty(),
            c if upper => {
                camel.push(c.to_ascii_uppercase());
                upper = false;
            }
            c => camel.push(c),
        }
    }
    camel
}

impl fmt::Display for FieldPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(parent) = self.parent else {
            return Ok(());
        };
        parent.fmt(f)?;
        let first = parent.parent.is_none();
        match self.segment {
            Segment::Root => Ok(()),
            Segment::Index(index) => write!(f, "[{index}]"),
            Segment::Field(name) if name.len() > NAME_BYTES_MAX => {
                let head = &name[..name.floor_char_boundary(NAME_BYTES_MAX)];
                write!(f, "[\"{head}…\"]")
            }
            Segment::Field(name) if !is_identifier(name) => write!(f, "[\"{name}\"]"),
            Segment::Field(name) if first => f.write_str(name),
            Segment::Field(name) => write!(f, ".{name}"),
        }
    }
}

fn is_identifier(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_users_write_it() {
        let spec = FieldPath::ROOT.field("spec");
        let http = spec.field("http");
        let rule = http.index(2);
        let headers = rule.field("headers");
        assert_eq!(
            headers.field("end-user").to_string(),
            "spec.http[2].headers[\"end-user\"]"
        );
        assert_eq!(FieldPath::ROOT.to_string(), "");
    }

    #[test]
    fn camel_case_follows_protobuf() {
        assert_eq!(camel_case("consecutive_5xx_errors"), "consecutive5xxErrors");
        assert_eq!(camel_case("jwks_uri"), "jwksUri");
        assert_eq!(camel_case("plain"), "plain");
    }
}
