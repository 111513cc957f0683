//! Several VirtualServices for one host on sidecars: only the oldest counts
//! (IST0109).

use std::sync::Arc;

use mesh_api::diagnostic::Severity;
use mesh_api::resource::Visibility;
use mesh_api::route::VirtualService;

use super::Report;
use super::fact::{Roster, Seen, first_of};
use super::reader::Reader;
use crate::kinds::Model;
use crate::manifest::path::FieldPath;
use crate::object::Object;

const CONFLICT: (&str, Severity) = ("IST0109", Severity::Error);

pub(super) fn analyze(object: &Object, reader: &Reader<'_>, report: &mut Report<'_>) {
    let Model::VirtualService(rule) = &object.model else {
        return;
    };
    if !rule.applies_to_mesh() {
        return;
    }
    let own = format!("{}/{}", rule.meta.namespace(), rule.meta.name());
    let root = FieldPath::ROOT;
    let path = root.field("spec");
    let hosts = path.field("hosts");
    for (index, host) in rule.hosts.iter().enumerate() {
        let others = super::without(rules(rule, host.as_str(), reader), &own);
        if others.is_empty() {
            continue;
        }
        let message = format!(
            "host \"{host}\" has rules in {} as well, and sidecars use only the oldest of them",
            super::list(&others)
        );
        let suggestion = "merge the rules into one virtual service".to_owned();
        report.add(CONFLICT, &hosts.index(index), message, Some(suggestion));
    }
}

/// The first rules of a host that some namespace sees together with this one.
fn rules(rule: &VirtualService, host: &str, reader: &Reader<'_>) -> Vec<Arc<str>> {
    let seen = |seen| reader.roster(Roster::Rules(host.into(), seen));
    match &rule.visibility {
        Visibility::None => Vec::new(),
        Visibility::Public => seen(Seen::Anywhere),
        Visibility::Namespaces(names) => {
            let by_name = names.iter().cloned().map(Seen::In);
            first_of(by_name.chain([Seen::Everywhere]).map(seen))
        }
    }
}
