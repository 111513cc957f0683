//! `ReferenceGrant`.

use std::sync::Arc;

use super::reference::{GROUP, ObjectRef};
use crate::kinds::descriptor::Descriptor;
use crate::kinds::findings::Findings;
use crate::kinds::read::Read;
use crate::kinds::rules::some;
use crate::kinds::scope::Scope;
use crate::kinds::wire::wire;

wire! {
    ReferenceGrantSpec {
        from: Vec<ObjectRef>,
        to: Vec<ObjectRef>,
    }
}

/// A `ReferenceGrant`: who may refer into its namespace, and to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceGrant {
    /// The namespace that is referred into.
    pub namespace: Arc<str>,
    /// Who may refer.
    pub from: Vec<Referrer>,
    /// To what.
    pub to: Vec<Referent>,
}

/// Objects of one kind in one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    /// API group.
    pub group: Arc<str>,
    /// Kind.
    pub kind: Arc<str>,
    /// Namespace.
    pub namespace: Arc<str>,
}

/// One object, or all of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referent {
    /// API group.
    pub group: Arc<str>,
    /// Kind.
    pub kind: Arc<str>,
    /// Name; `None` for all.
    pub name: Option<Arc<str>>,
}

impl Read for ReferenceGrantSpec {
    const KIND: Descriptor = Descriptor {
        has_status: false,
        ..Descriptor::custom(GROUP, "ReferenceGrant", &["v1", "v1beta1"])
    };

    type Model = Arc<ReferenceGrant>;

    fn read(&self, scope: &Scope<'_>, _: &mut Findings<'_>) -> Option<Arc<ReferenceGrant>> {
        let text = |value: &Option<String>| Arc::from(value.as_deref().unwrap_or_default());
        let from = self.from.iter().map(|one| Referrer {
            group: text(&one.group),
            kind: text(&one.kind),
            namespace: text(&one.namespace),
        });
        let to = self.to.iter().map(|one| Referent {
            group: text(&one.group),
            kind: text(&one.kind),
            name: some(&one.name),
        });
        Some(Arc::new(ReferenceGrant {
            namespace: scope.meta.key.namespace.clone(),
            from: from.collect(),
            to: to.collect(),
        }))
    }
}
