//! Registered names next to one that is not, for advice. Only a few neighbours in order of the alphabet are looked at,
//! read from the front and from the back, so that a slip near either end is found and thousands of wrong names in one
//! domain of thousands do not cost their product.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use mesh_api::hostname::Hostname;

use super::fact::{Fact, Side, Touched};
use crate::decode::suggest::nearest;

/// Names that are looked at on each side.
const WINDOW: usize = 32;

/// Sorts after every label.
const LAST: &str = "\u{10FFFF}";

/// First labels of exact hosts by the rest of the host.
#[derive(Debug, Default)]
pub(super) struct Names {
    domains: HashMap<Arc<str>, Domain>,
}

#[derive(Debug, Default)]
struct Domain {
    front: BTreeSet<Arc<str>>,
    back: BTreeSet<Arc<str>>,
}

impl Names {
    pub(super) fn add(&mut self, host: &Hostname, touched: &mut Vec<Touched>) {
        let Some((label, rest)) = parts(host) else {
            return;
        };
        let domain = self.domains.entry(rest.into()).or_default();
        domain.front.insert(label.into());
        domain.back.insert(reversed(label));
        domain.touch(label, rest, touched);
    }

    pub(super) fn remove(&mut self, host: &Hostname, touched: &mut Vec<Touched>) {
        let Some((label, rest)) = parts(host) else {
            return;
        };
        let Some(domain) = self.domains.get_mut(rest) else {
            return;
        };
        domain.front.remove(label);
        domain.back.remove(&reversed(label));
        domain.touch(label, rest, touched);
        if domain.front.is_empty() {
            self.domains.remove(rest);
        }
    }

    /// The first label that was probably meant by `label`.
    pub(super) fn nearest(&self, label: &str, rest: &str) -> Option<String> {
        let domain = self.domains.get(rest)?;
        let mut candidates = BTreeSet::new();
        let back = reversed(label);
        let front = around(&domain.front, label).map(|name| name.to_string());
        candidates.extend(front);
        candidates.extend(around(&domain.back, &back).map(|name| name.chars().rev().collect()));
        nearest(label, candidates.iter().map(String::as_str)).map(str::to_owned)
    }
}

/// What [`Names::nearest`] depends on.
pub(super) fn facts(label: &str, rest: &str) -> [Fact; 2] {
    [
        Fact::Near(Side::Front, rest.into(), label.into()),
        Fact::Near(Side::Back, rest.into(), reversed(label)),
    ]
}

impl Domain {
    /// Everyone who has fewer than `WINDOW` names between themselves and this one looks at it.
    fn touch(&self, label: &str, rest: &str, touched: &mut Vec<Touched>) {
        let back = reversed(label);
        for (side, names, label) in [
            (Side::Front, &self.front, label),
            (Side::Back, &self.back, &*back),
        ] {
            let (before, after) = sides(names, label);
            let first = before.into_iter().nth(WINDOW);
            let last = after.into_iter().nth(WINDOW);
            let at = |label: Arc<str>| Fact::Near(side, rest.into(), label);
            let first = at(first.cloned().unwrap_or_else(|| "".into()));
            let last = at(last.cloned().unwrap_or_else(|| LAST.into()));
            touched.push(Touched::Between(first, last));
        }
    }
}

/// Names before a label from near to far, and from the label on.
fn sides<'a>(
    names: &'a BTreeSet<Arc<str>>,
    label: &str,
) -> (
    impl Iterator<Item = &'a Arc<str>> + use<'a>,
    impl Iterator<Item = &'a Arc<str>> + use<'a>,
) {
    let label: Arc<str> = label.into();
    let before = names.range(..label.clone()).rev();
    (before, names.range(label..))
}

fn around<'a>(names: &'a BTreeSet<Arc<str>>, label: &str) -> impl Iterator<Item = &'a Arc<str>> {
    let (before, after) = sides(names, label);
    before.take(WINDOW).chain(after.take(WINDOW))
}

fn reversed(label: &str) -> Arc<str> {
    let reversed: String = label.chars().rev().collect();
    reversed.into()
}

/// The first label of an exact host and the rest.
fn parts(host: &Hostname) -> Option<(&str, &str)> {
    let exact = !host.is_wildcard();
    exact.then(|| host.as_str().split_once('.')).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> Hostname {
        name.parse().unwrap()
    }

    #[test]
    fn a_slip_at_either_end_is_found_among_many() {
        let mut names = Names::default();
        let mut touched = Vec::new();
        for n in 0..1000 {
            names.add(
                &host(&format!("service-{n:03}-of-many.shop.svc")),
                &mut touched,
            );
        }
        names.add(&host("reviews.shop.svc"), &mut touched);
        let nearest = |label: &str| names.nearest(label, "shop.svc");
        assert_eq!(nearest("revews").as_deref(), Some("reviews"));
        assert_eq!(nearest("xeviews").as_deref(), Some("reviews"));
        assert_eq!(nearest("reviewz").as_deref(), Some("reviews"));
        assert_eq!(nearest("other"), None);
        assert_eq!(names.nearest("revews", "else.svc"), None);
    }

    #[test]
    fn a_name_touches_its_neighbours_only() {
        let mut names = Names::default();
        let mut touched = Vec::new();
        for n in 0..500 {
            names.add(&host(&format!("s{n:03}.shop.svc")), &mut touched);
        }
        touched.clear();
        names.remove(&host("s250.shop.svc"), &mut touched);
        let at = |label: &str| Fact::Near(Side::Front, "shop.svc".into(), label.into());
        assert_eq!(touched[0], Touched::Between(at("s217"), at("s283")));
    }
}
