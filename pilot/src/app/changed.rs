//! What changed, for a line of the log: the first few names, and how many more there are.

use std::fmt;

use mesh_api::snapshot::diff::Changes;

/// Names in a line.
const NAMES_MAX: usize = 5;

/// The names of what changed.
pub(super) struct Names<'a>(pub(super) &'a Changes);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Changes {
            full,
            objects,
            endpoints,
            workloads,
        } = self.0;
        if *full {
            return f.write_str("everything");
        }
        let names = objects.iter().map(ToString::to_string);
        let hosts = endpoints.iter().map(|key| &key.hostname);
        let hosts = hosts.map(|host| format!("endpoints of {host}"));
        let addresses = workloads
            .iter()
            .map(|address| format!("workload {address}"));
        let names: Vec<_> = names
            .chain(hosts)
            .chain(addresses)
            .take(NAMES_MAX)
            .collect();
        f.write_str(&names.join(", "))?;
        let all = objects.len() + endpoints.len() + workloads.len();
        match all.checked_sub(NAMES_MAX) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use mesh_api::resource::ResourceKey;
    use mesh_api::snapshot::ServiceKey;

    use super::*;

    fn changes(objects: usize, endpoints: usize) -> Changes {
        let key = |n| ResourceKey::new("VirtualService", "shop", &format!("v{n}"));
        let service = |n| ServiceKey {
            hostname: format!("s{n}.shop.svc").parse().unwrap(),
            namespace: "shop".into(),
        };
        Changes {
            full: false,
            objects: (0..objects).map(key).collect(),
            endpoints: (0..endpoints).map(service).collect(),
            workloads: Default::default(),
        }
    }

    #[test]
    fn a_line_names_a_few() {
        let check = |changes: &Changes, expected| assert_eq!(Names(changes).to_string(), expected);
        check(&changes(0, 0), "");
        check(
            &changes(1, 1),
            "VirtualService shop/v0, endpoints of s0.shop.svc",
        );
        check(
            &changes(4, 3),
            "VirtualService shop/v0, VirtualService shop/v1, VirtualService shop/v2, \
             VirtualService shop/v3, endpoints of s0.shop.svc and 2 more",
        );
        let full = Changes {
            full: true,
            ..Changes::default()
        };
        check(&full, "everything");
    }
}
