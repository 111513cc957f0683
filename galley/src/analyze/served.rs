//! The hosts that a Gateway's servers take, looked up in time that does not depend on how many there are.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use mesh_api::gateway::Gateway;
use mesh_api::hostname::Hostname;

use super::fact::ends;

/// Hosts by the namespace whose VirtualServices may have them; for all under no name.
#[derive(Debug, Default)]
pub(super) struct Served(HashMap<Option<Arc<str>>, Hosts>);

#[derive(Debug, Default)]
struct Hosts {
    names: HashSet<Hostname>,
    /// Ends of the names, from every dot on.
    ends: HashSet<Box<str>>,
}

impl Served {
    pub(super) fn by(gateway: &Gateway) -> Self {
        let mut served = Self::default();
        for host in gateway.servers.iter().flat_map(|server| &server.hosts) {
            let hosts = served.0.entry(host.namespace.clone()).or_default();
            hosts.ends.extend(ends(&host.host).map(Into::into));
            hosts.names.insert(host.host.clone());
        }
        served
    }

    /// True if a rule of `namespace` may have `host` or a part of it.
    pub(super) fn takes(&self, host: &Hostname, namespace: &Arc<str>) -> bool {
        let scopes = [None, Some(namespace.clone())];
        let mut hosts = scopes.iter().filter_map(|scope| self.0.get(scope));
        hosts.any(|hosts| hosts.overlap(host))
    }
}

impl Hosts {
    fn overlap(&self, host: &Hostname) -> bool {
        let covering = || ends(host).filter_map(|end| format!("*{end}").parse().ok());
        let below = || match host.as_str().strip_prefix('*') {
            Some(end) => self.ends.contains(end),
            None => false,
        };
        self.names.contains(host)
            || covering().any(|name: Hostname| self.names.contains(&name))
            || below()
    }
}

#[cfg(test)]
mod tests {
    use mesh_api::gateway::{Server, ServerHost};
    use mesh_api::labels::Selector;
    use mesh_api::port::Protocol;
    use mesh_api::test_util::meta;

    use super::*;

    fn gateway(hosts: &[Hostname]) -> Gateway {
        let hosts = hosts.iter().map(|host| ServerHost {
            namespace: None,
            host: host.clone(),
        });
        Gateway {
            meta: meta("Gateway", "edge", "edge"),
            selector: Selector::default(),
            pod_namespace: None,
            trusted_pods: None,
            servers: vec![Server {
                port: 80,
                port_name: "http".into(),
                protocol: Protocol::Http,
                name: None,
                bind: None,
                hosts: hosts.collect(),
                tls: None,
            }],
        }
    }

    proptest::proptest! {
        #[test]
        fn takes_what_overlaps_with_one_of_the_hosts(
            hosts in proptest::collection::vec("(\\*|[ab]{1,2})(\\.[ab]){0,3}", 0..6),
            asked in "(\\*|[ab]{1,2})(\\.[ab]){0,3}",
        ) {
            let hosts: Vec<Hostname> = hosts.iter().map(|host| host.parse().unwrap()).collect();
            let asked: Hostname = asked.parse().unwrap();
            let served = Served::by(&gateway(&hosts));
            let expected = hosts.iter().any(|host| host.overlaps(&asked));
            assert_eq!(served.takes(&asked, &"shop".into()), expected);
        }
    }
}
