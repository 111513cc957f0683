//! Many host names, of which one is asked whether it covers another.

use std::cell::Cell;
use std::collections::HashMap;

use super::Hostname;

/// A set of names, wildcards included. Looking a name up takes time in proportion to its own length, however many
/// names there are.
#[derive(Debug, Clone)]
pub struct HostnameSet {
    /// Names by their labels from the right; the first is the root.
    nodes: Vec<Node>,
    compared: Cell<u64>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    below: HashMap<Box<str>, usize>,
    /// The name that ends here is in the set.
    exact: bool,
    /// The name that ends here with `*.` before it is in the set.
    wildcard: bool,
}

impl Default for HostnameSet {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
            compared: Cell::new(0),
        }
    }
}

impl HostnameSet {
    /// Labels that all calls together have compared.
    pub fn compared(&self) -> u64 {
        self.compared.get()
    }

    fn compare(&self) {
        self.compared.set(self.compared.get() + 1);
    }

    /// Adds a name. False if it is there already.
    pub fn insert(&mut self, name: &Hostname) -> bool {
        let (labels, wildcard) = labels(name);
        let mut at = 0;
        for label in labels {
            self.compare();
            at = match self.nodes[at].below.get(label) {
                Some(next) => *next,
                None => {
                    let next = self.nodes.len();
                    self.nodes[at].below.insert(label.into(), next);
                    self.nodes.push(Node::default());
                    next
                }
            };
        }
        let node = &mut self.nodes[at];
        let there = if wildcard {
            &mut node.wildcard
        } else {
            &mut node.exact
        };
        !std::mem::replace(there, true)
    }

    /// True if one of the names covers this one.
    pub fn covers(&self, name: &Hostname) -> bool {
        let (labels, wildcard) = labels(name);
        let mut node = &self.nodes[0];
        for label in labels {
            self.compare();
            // A name is not covered by the wildcard of itself, a wildcard is.
            if node.wildcard {
                return true;
            }
            match node.below.get(label) {
                Some(next) => node = &self.nodes[*next],
                None => return false,
            }
        }
        if wildcard { node.wildcard } else { node.exact }
    }
}

/// Labels from the right, without a leading `*`; true if there was one.
fn labels(name: &Hostname) -> (impl Iterator<Item = &str>, bool) {
    let text = name.as_str();
    let (rest, wildcard) = match text.strip_prefix('*') {
        Some(rest) => (rest.strip_prefix('.').unwrap_or(rest), true),
        None => (text, false),
    };
    (rest.rsplit('.').filter(|label| !label.is_empty()), wildcard)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn covers_what_one_of_the_names_covers(
            names in proptest::collection::vec("(\\*|[ab]{1,2})(\\.[ab]){0,3}", 0..8),
            asked in "(\\*|[ab]{1,2})(\\.[ab]){0,3}",
        ) {
            let names: Vec<Hostname> = names.iter().map(|name| name.parse().unwrap()).collect();
            let asked: Hostname = asked.parse().unwrap();
            let mut set = HostnameSet::default();
            for (index, name) in names.iter().enumerate() {
                assert_eq!(set.insert(name), !names[..index].contains(name), "{name}");
            }
            assert_eq!(set.covers(&asked), names.iter().any(|name| name.covers(&asked)));
        }
    }
}
