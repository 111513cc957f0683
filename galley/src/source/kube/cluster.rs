//! The newest version of every object of the cluster, and what changed since the
//! last question. Synchronous: changes come in, a [`Delta`] goes out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::item::{Item, Observed};
use crate::kind::Kind;
use crate::manifest::Document;
use crate::source::Delta;
use crate::store::DocumentKey;

/// What happened to a kind.
#[derive(Debug)]
pub(crate) struct Change {
    pub(super) kind: Kind,
    pub(super) event: Event,
}

#[derive(Debug)]
pub(super) enum Event {
    /// All objects are listed from here.
    Restarted,
    /// One of the list.
    Listed(Box<Item>),
    /// The list is whole: what was not in it is gone.
    Complete,
    /// A new version.
    Applied(Box<Item>),
    /// An object is gone.
    Deleted(DocumentKey),
    /// The kind is not installed.
    Absent,
}

#[cfg(test)]
impl Change {
    /// An object as the API server sends it.
    pub(crate) fn applied(kind: Kind, object: serde_json::Value) -> Self {
        let api_version = kind.resource(kind.versions()[0]).api_version;
        let object = serde_json::from_value(object).expect("an object");
        let item = Item::new(kind, &api_version, "default", object);
        Self {
            kind,
            event: Event::Applied(Box::new(item)),
        }
    }
}

/// All objects by kind.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    mirrors: BTreeMap<Kind, Mirror>,
    /// Documents to be applied, and to be deleted.
    pending: BTreeMap<DocumentKey, Option<Arc<Document>>>,
    /// What only the writer of status looks at.
    seen: Seen,
}

/// What the API server said besides the content of objects.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Seen {
    /// Objects with another status or generation.
    pub(crate) objects: BTreeSet<DocumentKey>,
    /// A kind was read completely, came or went.
    pub(crate) kinds: bool,
}

impl Seen {
    /// Nothing was.
    pub(crate) fn is_empty(&self) -> bool {
        self.objects.is_empty() && !self.kinds
    }
}

/// The objects of one kind.
#[derive(Debug, Default)]
struct Mirror {
    objects: BTreeMap<DocumentKey, Kept>,
    /// Those of a list that is not whole yet.
    listing: Option<BTreeMap<DocumentKey, Kept>>,
    complete: bool,
    /// The cluster does not know the kind.
    absent: bool,
}

#[derive(Debug)]
struct Kept {
    document: Option<Arc<Document>>,
    observed: Observed,
}

impl Cluster {
    /// Nothing seen yet of any kind.
    pub(crate) fn new() -> Self {
        Self {
            mirrors: Kind::watched()
                .map(|kind| (kind, Mirror::default()))
                .collect(),
            ..Self::default()
        }
    }

    /// Kinds whose first list is not whole yet.
    pub(crate) fn missing(&self) -> BTreeSet<&'static str> {
        let missing = self.mirrors.iter().filter(|(_, mirror)| !mirror.complete);
        missing.map(|(kind, _)| kind.name()).collect()
    }

    /// What the API server last said about an object besides its content.
    pub(crate) fn observed(&self, kind: Kind, key: &DocumentKey) -> Option<&Observed> {
        let kept = self.mirrors.get(&kind)?.objects.get(key)?;
        Some(&kept.observed)
    }

    /// Whether the cluster knows `kind`, and has no object of this name.
    pub(crate) fn lacks(&self, kind: Kind, name: &str) -> bool {
        let lacks = |mirror: &Mirror| {
            let mut names = mirror.objects.keys().map(|key| &*key.object.name);
            mirror.complete && !mirror.absent && !names.any(|known| known == name)
        };
        self.mirrors.get(&kind).is_some_and(lacks)
    }

    /// Takes a change in.
    pub(crate) fn apply(&mut self, change: Change) {
        let mirror = self.mirrors.entry(change.kind).or_default();
        match change.event {
            Event::Restarted => mirror.listing = Some(BTreeMap::new()),
            Event::Listed(item) => {
                let (key, kept) = kept(*item);
                mirror.listing.get_or_insert_default().insert(key, kept);
            }
            Event::Complete => self.replace(change.kind, false),
            Event::Absent => self.replace(change.kind, true),
            Event::Applied(item) => {
                let (key, kept) = kept(*item);
                self.set(change.kind, key, kept);
            }
            Event::Deleted(key) => self.remove(change.kind, &key),
        }
    }

    /// What changed since the last call, and what was seen besides.
    pub(crate) fn take_delta(&mut self) -> (Delta, Seen) {
        let mut delta = Delta::default();
        for (key, document) in std::mem::take(&mut self.pending) {
            match document {
                Some(document) => delta.applied.push(document),
                None => delta.deleted.push(key),
            }
        }
        (delta, std::mem::take(&mut self.seen))
    }

    fn replace(&mut self, kind: Kind, absent: bool) {
        let mirror = self.mirrors.entry(kind).or_default();
        self.seen.kinds |= !mirror.complete || mirror.absent != absent;
        mirror.complete = true;
        mirror.absent = absent;
        let listed = mirror.listing.take().unwrap_or_default();
        let listed = if absent { BTreeMap::new() } else { listed };
        let gone = mirror
            .objects
            .keys()
            .filter(|key| !listed.contains_key(*key));
        for key in gone.cloned().collect::<Vec<_>>() {
            self.remove(kind, &key);
        }
        for (key, kept) in listed {
            self.set(kind, key, kept);
        }
    }

    fn set(&mut self, kind: Kind, key: DocumentKey, mut kept: Kept) {
        let objects = &mut self.mirrors.entry(kind).or_default().objects;
        let before = objects.get(&key);
        let document = before.and_then(|before| before.document.as_ref());
        match (document, &kept.document) {
            // A version that differs in nothing that counts is no new version.
            (Some(old), Some(new)) if old.node == new.node => kept.document = Some(old.clone()),
            (_, Some(new)) => {
                self.pending.insert(key.clone(), Some(new.clone()));
            }
            (Some(_), None) => {
                self.pending.insert(key.clone(), None);
            }
            (None, None) => {}
        }
        if before.is_none_or(|before| before.observed != kept.observed) {
            self.seen.objects.insert(key.clone());
        }
        objects.insert(key, kept);
    }

    fn remove(&mut self, kind: Kind, key: &DocumentKey) {
        let objects = &mut self.mirrors.entry(kind).or_default().objects;
        let Some(kept) = objects.remove(key) else {
            return;
        };
        if kept.document.is_some() {
            self.pending.insert(key.clone(), None);
        }
        self.seen.objects.insert(key.clone());
    }
}

fn kept(item: Item) -> (DocumentKey, Kept) {
    let kept = Kept {
        document: item.document,
        observed: item.observed,
    };
    (item.key, kept)
}
