//! What analyzers may know about objects other than the one before them: facts, small enough that a change of the
//! mesh changes few of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use mesh_api::hostname::Hostname;
use mesh_api::labels::Labels;
use mesh_api::resource::ResourceKey;

/// Names that a finding shows at most. One more is kept, since an object does not name itself, and another one to know
/// that there are more.
pub(super) const SHOWN_MAX: usize = 5;
pub(super) const KEPT_MAX: usize = SHOWN_MAX + 2;

/// Something that a finding may depend on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Fact {
    /// An object.
    Object(ResourceKey),
    /// The services that are registered under this very name, wildcard or not.
    Services(Arc<str>),
    /// The first names of a roster.
    Roster(Roster),
    /// The names of a domain next to a label, from the front or from the back.
    Near(Side, Arc<str>, Arc<str>),
    /// Namespaces of the pods that Gateways select.
    SelectedNamespaces(Labels),
    /// The Sidecars of a namespace that select the same pods as those with this selector.
    SameSidecars(Arc<str>, Labels),
}

/// From which end labels are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Side {
    Front,
    Back,
}

/// An ordered list of names that objects put there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Roster {
    /// Not empty if some host is registered that ends so: `.shop.svc`, or nothing for all.
    HostsBelow(Arc<str>),
    /// Hosts that begin with a label.
    HostsOfLabel(Arc<str>),
    /// Not empty if the host has the subset.
    Subset(Arc<str>, Arc<str>),
    /// The subsets of a host.
    Subsets(Arc<str>),
    /// Namespaces with a Gateway of this name.
    GatewaysNamed(Arc<str>),
    /// Not empty if there are pods.
    Pods,
    /// Not empty if there are pods in the namespace.
    PodsOf(Arc<str>),
    /// VirtualServices that rule a host on sidecars.
    Rules(Arc<str>, Seen),
    /// Objects without selector of a kind and a namespace.
    Defaults(&'static str, Arc<str>),
}

/// Whose view of the VirtualServices of a host it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Seen {
    /// All that anyone sees.
    Anywhere,
    /// Those that everyone sees.
    Everywhere,
    /// Those that are exported to this namespace by name.
    In(Arc<str>),
}

/// A fact, or several in a row, that may have changed.
#[derive(Debug, PartialEq)]
pub(super) enum Touched {
    One(Fact),
    Between(Fact, Fact),
}

/// All rosters. Each name counts how many objects put it there.
#[derive(Debug, Default)]
pub(super) struct Rosters(HashMap<Roster, BTreeMap<Arc<str>, u32>>);

impl Rosters {
    /// The first names, one more than are shown beside the reader's own.
    pub(super) fn first(&self, roster: &Roster) -> Vec<Arc<str>> {
        let names = self.0.get(roster).into_iter().flatten();
        names.take(KEPT_MAX).map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn add(&mut self, roster: &Roster, name: &Arc<str>, touched: &mut Vec<Touched>) {
        let names = self.0.entry(roster.clone()).or_default();
        let count = names.entry(name.clone()).or_default();
        *count += 1;
        if *count == 1 && is_among_first(names, name) {
            touched.push(Touched::One(Fact::Roster(roster.clone())));
        }
    }

    pub(super) fn remove(&mut self, roster: &Roster, name: &Arc<str>, touched: &mut Vec<Touched>) {
        let Some(names) = self.0.get_mut(roster) else {
            return;
        };
        let Some(count) = names.get_mut(name) else {
            return;
        };
        *count -= 1;
        if *count > 0 {
            return;
        }
        if is_among_first(names, name) {
            touched.push(Touched::One(Fact::Roster(roster.clone())));
        }
        names.remove(name);
        if names.is_empty() {
            self.0.remove(roster);
        }
    }
}

fn is_among_first(names: &BTreeMap<Arc<str>, u32>, name: &Arc<str>) -> bool {
    names.range(..name.clone()).take(KEPT_MAX).count() < KEPT_MAX
}

/// The first `KEPT_MAX` of several lists, each in order.
pub(super) fn first_of(lists: impl IntoIterator<Item = Vec<Arc<str>>>) -> Vec<Arc<str>> {
    let mut all: Vec<Arc<str>> = lists.into_iter().flatten().collect();
    all.sort();
    all.dedup();
    all.truncate(KEPT_MAX);
    all
}

/// The ends of a name that a wildcard may stand before: `.b.c`, `.c`, and nothing, for `a.b.c` as for `*.b.c`.
pub(super) fn ends(host: &Hostname) -> impl Iterator<Item = &str> {
    let text = host.as_str();
    let base = text.strip_prefix('*').unwrap_or(text);
    let dots = base.match_indices('.').map(|(at, _)| &base[at..]);
    dots.chain([""])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_names_of_a_roster_matter() {
        let mut rosters = Rosters::default();
        let roster = Roster::Pods;
        let name = |n: usize| -> Arc<str> { format!("{n:02}").into() };
        let mut touched = Vec::new();
        for n in 0..KEPT_MAX {
            rosters.add(&roster, &name(n), &mut touched);
        }
        assert_eq!(touched.len(), KEPT_MAX);
        touched.clear();
        rosters.add(&roster, &name(50), &mut touched);
        rosters.add(&roster, &name(3), &mut touched);
        rosters.remove(&roster, &name(3), &mut touched);
        rosters.remove(&roster, &name(50), &mut touched);
        assert_eq!(touched, []);
        rosters.remove(&roster, &name(3), &mut touched);
        assert_eq!(touched, [Touched::One(Fact::Roster(roster.clone()))]);
        assert_eq!(rosters.first(&roster).len(), KEPT_MAX - 1);
        for n in [0, 1, 2, 4, 5, 6] {
            rosters.remove(&roster, &name(n), &mut touched);
        }
        assert!(rosters.0.is_empty());
    }

    #[test]
    fn ends_of_names() {
        let of = |name: &str| -> Vec<String> {
            let host: Hostname = name.parse().unwrap();
            ends(&host).map(str::to_owned).collect()
        };
        assert_eq!(of("a.b.c"), [".b.c", ".c", ""]);
        assert_eq!(of("*.b.c"), [".b.c", ".c", ""]);
        assert_eq!(of("*"), [""]);
    }
}
