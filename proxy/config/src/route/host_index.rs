//! Finds the virtual host of an authority, by Envoy's order: exact, longest `*suffix`, longest `prefix*`, `*`.

use hashbrown::HashMap;

/// An index of virtual host domains. Domains are lower case; so must be what is looked up.
#[derive(Debug, Default)]
pub struct HostIndex {
    exact: HashMap<Box<str>, u32>,
    /// By length, longest first.
    suffixes: Vec<(usize, HashMap<Box<str>, u32>)>,
    /// By length, longest first.
    prefixes: Vec<(usize, HashMap<Box<str>, u32>)>,
    any: Option<u32>,
}

/// A domain stands twice in a route configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("domain \"{0}\" is in more than one virtual host")]
pub struct DuplicateDomain(pub String);

impl HostIndex {
    /// Adds a domain of a virtual host.
    pub fn add(&mut self, domain: &str, host: u32) -> Result<(), DuplicateDomain> {
        let domain = domain.to_ascii_lowercase();
        let duplicate = if domain == "*" {
            self.any.replace(host).is_some()
        } else if let Some(suffix) = domain.strip_prefix('*') {
            insert(&mut self.suffixes, suffix, host)
        } else if let Some(prefix) = domain.strip_suffix('*') {
            insert(&mut self.prefixes, prefix, host)
        } else {
            self.exact.insert(domain.as_str().into(), host).is_some()
        };
        if duplicate {
            return Err(DuplicateDomain(domain));
        }
        Ok(())
    }

    /// The virtual host of a lower-case authority.
    pub fn find(&self, host: &str) -> Option<u32> {
        if let Some(found) = self.exact.get(host) {
            return Some(*found);
        }
        let suffix = |len: usize| host.get(host.len() - len..);
        let prefix = |len: usize| host.get(..len);
        longest(&self.suffixes, host.len(), suffix)
            .or_else(|| longest(&self.prefixes, host.len(), prefix))
            .or(self.any)
    }
}

fn insert(by_len: &mut Vec<(usize, HashMap<Box<str>, u32>)>, part: &str, host: u32) -> bool {
    let position = by_len.binary_search_by(|(len, _)| part.len().cmp(len));
    let slot = position.unwrap_or_else(|slot| {
        by_len.insert(slot, (part.len(), HashMap::new()));
        slot
    });
    by_len[slot].1.insert(part.into(), host).is_some()
}

/// The first, hence longest, part of the host that is known. The `*` must stand for something.
fn longest<'a>(
    by_len: &[(usize, HashMap<Box<str>, u32>)],
    host_len: usize,
    part: impl Fn(usize) -> Option<&'a str>,
) -> Option<u32> {
    by_len
        .iter()
        .filter(|(len, _)| *len < host_len)
        .find_map(|(len, hosts)| hosts.get(part(*len)?).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(domains: &[&str]) -> HostIndex {
        let mut index = HostIndex::default();
        for (n, domain) in domains.iter().enumerate() {
            index.add(domain, n as u32).unwrap();
        }
        index
    }

    #[test]
    fn exact_then_longest_suffix_then_longest_prefix_then_any() {
        let index = index(&[
            "www.foo.com",
            "*.foo.com",
            "*-bar.foo.com",
            "foo.*",
            "foo.bar.*",
            "*",
        ]);
        for (host, expected) in [
            ("www.foo.com", 0),
            ("a.foo.com", 1),
            ("x-bar.foo.com", 2),
            (".foo.com", 5),
            ("foo.com", 3),
            ("foo.bar.com", 4),
            ("foo.", 5),
            ("other", 5),
            ("", 5),
        ] {
            assert_eq!(index.find(host), Some(expected), "{host}");
        }
    }

    #[test]
    fn without_a_catch_all_there_may_be_none() {
        assert_eq!(index(&["a", "*.b"]).find("b"), None);
    }

    #[test]
    fn a_domain_stands_once() {
        let mut index = index(&["A.b"]);
        assert_eq!(index.add("a.B", 1), Err(DuplicateDomain("a.b".into())));
        index.add("*", 1).unwrap();
        assert!(index.add("*", 2).is_err());
    }

    proptest::proptest! {
        #[test]
        fn what_is_found_covers_the_host(host in "[a-c.]{1,8}", domains in proptest::collection::hash_set("[*]?[a-c.]{1,5}|[a-c.]{1,5}[*]", 0..12)) {
            let domains: Vec<String> = domains.into_iter().collect();
            let index = index(&domains.iter().map(String::as_str).collect::<Vec<_>>());
            let covers = |domain: &str| match (domain.strip_prefix('*'), domain.strip_suffix('*')) {
                (Some(suffix), _) => host.len() > suffix.len() && host.ends_with(suffix),
                (None, Some(prefix)) => host.len() > prefix.len() && host.starts_with(prefix),
                (None, None) => host == domain,
            };
            match index.find(&host) {
                Some(found) => assert!(covers(&domains[found as usize])),
                None => assert!(!domains.iter().any(|domain| covers(domain))),
            }
        }
    }
}
