//! The mesh's network: a router namespace, one veth pair per pod, services by destination NAT.
//!
//! Pods have a /32 address and only a link to the router, so every packet between pods passes the
//! router and connection tracking sees both directions. This module plans (addresses, batches for
//! `ip`, one nft transaction) and runs the two tools; `network/services.rs` renders services.

pub mod services;

use std::{
    collections::{BTreeSet, HashMap},
    net::Ipv4Addr,
    process::Stdio,
};

use tokio::{io::AsyncWriteExt, process::Command};

/// The router's address: default gateway for nothing, DNS server and "node" for everything.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);

/// First two bytes of pod addresses, 10.244.0.0/16.
const POD_PREFIX: [u8; 2] = [10, 244];

/// First two bytes of service addresses, 10.96.0.0/16.
const SERVICE_PREFIX: [u8; 2] = [10, 96];

/// Every pod's next hop; never seen on the wire, because the neighbour entry is permanent.
const NEXT_HOP: &str = "169.254.1.1";

/// MAC of the router's end of every veth pair.
const ROUTER_MAC: &str = "ee:ee:ee:ee:ee:ee";

/// A network step failed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A tool could not be run.
    #[error("cannot run \"{program}\": install the package {package}")]
    Start {
        /// The program.
        program: String,
        /// The Debian package that brings it.
        package: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A tool refused.
    #[error("\"{program}\" failed: {message}")]
    Refused {
        /// The program.
        program: String,
        /// Its standard error.
        message: String,
    },
    /// A kernel setting could not be written.
    #[error("cannot set \"{name}\"")]
    Sysctl {
        /// Path below /proc/sys.
        name: String,
        /// Why.
        source: std::io::Error,
    },
    /// No address is left.
    #[error("all addresses of {0} are in use")]
    Exhausted(&'static str),
    /// An address is in use.
    #[error("address {0} is in use by another pod")]
    Taken(Ipv4Addr),
}

/// Hands out addresses of one /16, without using a released one again soon.
#[derive(Debug)]
pub struct AddressPool {
    name: &'static str,
    prefix: [u8; 2],
    next: u16,
    used: BTreeSet<u16>,
}

impl AddressPool {
    /// Pod addresses; the first ones belong to the router.
    pub fn pods() -> Self {
        Self {
            name: "pods",
            prefix: POD_PREFIX,
            next: 2,
            used: BTreeSet::new(),
        }
    }

    /// Service addresses; the first ones are left to well-known services, as in Kubernetes.
    pub fn services() -> Self {
        Self {
            name: "services",
            prefix: SERVICE_PREFIX,
            next: 16,
            used: BTreeSet::new(),
        }
    }

    /// The next free address.
    pub fn allocate(&mut self) -> Result<Ipv4Addr, NetworkError> {
        for _ in 0..u16::MAX {
            let candidate = self.next;
            self.next = if self.next >= 65_000 {
                16
            } else {
                self.next + 1
            };
            // 0 and 255 as last byte look like network and broadcast addresses.
            let usable = !matches!(candidate & 0xff, 0 | 0xff);
            if usable && self.used.insert(candidate) {
                let [high, low] = candidate.to_be_bytes();
                return Ok(Ipv4Addr::new(self.prefix[0], self.prefix[1], high, low));
            }
        }
        Err(NetworkError::Exhausted(self.name))
    }

    /// Takes a given address, if it is of this pool.
    pub fn reserve(&mut self, address: Ipv4Addr) -> Result<(), NetworkError> {
        match self.index(address) {
            Some(index) if !self.used.insert(index) => Err(NetworkError::Taken(address)),
            _ => Ok(()),
        }
    }

    /// Gives an address back.
    pub fn release(&mut self, address: Ipv4Addr) {
        if let Some(index) = self.index(address) {
            self.used.remove(&index);
        }
    }

    fn index(&self, address: Ipv4Addr) -> Option<u16> {
        let [a, b, c, d] = address.octets();
        ([a, b] == self.prefix).then_some(u16::from_be_bytes([c, d]))
    }
}

/// One pod's link to the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodLink {
    /// Number of the pod; names the router's end.
    pub index: u32,
    /// The pod's address.
    pub address: Ipv4Addr,
    /// Process that holds the pod's namespaces.
    pub pid: u32,
}

impl PodLink {
    /// What `ip -batch` does in the router: create the pair and route the pod's address to it.
    pub fn router_batch(&self) -> String {
        let Self {
            index,
            address,
            pid,
        } = self;
        let mac = self.mac();
        format!(
            "link add v{index} address {ROUTER_MAC} type veth peer name eth0 address {mac} netns {pid}\n\
             link set v{index} up\n\
             neigh add {address} lladdr {mac} dev v{index} nud permanent\n\
             route add {address}/32 dev v{index}\n"
        )
    }

    /// What `ip -batch` does in the pod.
    pub fn pod_batch(&self) -> String {
        let address = self.address;
        format!(
            "link set lo up\n\
             addr add {address}/32 dev eth0\n\
             link set eth0 up\n\
             neigh add {NEXT_HOP} lladdr {ROUTER_MAC} dev eth0 nud permanent\n\
             route add {NEXT_HOP} dev eth0 scope link\n\
             route add default via {NEXT_HOP} dev eth0\n"
        )
    }

    fn mac(&self) -> String {
        let [a, b, c, d] = self.index.to_be_bytes();
        format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
    }

    /// Creates the link.
    pub async fn attach(&self) -> Result<(), NetworkError> {
        run("ip", &["-batch", "-"], &self.router_batch()).await?;
        let target = self.pid.to_string();
        run(
            "nsenter",
            &["--target", &target, "--net", "ip", "-batch", "-"],
            &self.pod_batch(),
        )
        .await
    }
}

/// Makes the current network namespace the router.
pub async fn set_up_router() -> Result<(), NetworkError> {
    for (name, value) in [
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv4/conf/all/rp_filter", "0"),
        ("net/ipv4/conf/default/rp_filter", "0"),
        ("net/ipv4/conf/all/send_redirects", "0"),
        ("net/ipv4/conf/default/send_redirects", "0"),
    ] {
        sysctl(name, value)?;
    }
    // Service addresses need a route, or connections made here, for the ingress, would be refused before they
    // can be translated.
    let [a, b] = SERVICE_PREFIX;
    let batch = format!(
        "link set lo up\naddr add {ROUTER}/32 dev lo\nroute add {a}.{b}.0.0/16 dev lo\n\
         route add unreachable default metric 4096\n"
    );
    run("ip", &["-batch", "-"], &batch).await
}

/// Writes a kernel setting of the current network namespace.
pub fn sysctl(name: &str, value: &str) -> Result<(), NetworkError> {
    std::fs::write(format!("/proc/sys/{name}"), value).map_err(|source| NetworkError::Sysctl {
        name: name.to_owned(),
        source,
    })
}

/// Applies one nft script in the router.
pub async fn apply_nft(script: &str) -> Result<(), NetworkError> {
    run("nft", &["-f", "-"], script).await
}

/// Runs a tool with `input`; its standard error becomes the message.
pub async fn run(program: &str, args: &[&str], input: &str) -> Result<(), NetworkError> {
    let packages: HashMap<_, _> = [("ip", "iproute2"), ("nft", "nftables")].into();
    let start = |source| NetworkError::Start {
        program: program.to_owned(),
        package: packages.get(program).copied().unwrap_or("util-linux"),
        source,
    };
    let mut child = Command::new(program)
        .args(args)
        .env("PATH", system_path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(start)?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // A tool that fails early closes its input; its exit status tells the reason.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await.map_err(start)?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(NetworkError::Refused {
        program: program.to_owned(),
        message,
    })
}

/// PATH with the directories of system tools, which a user's PATH often lacks.
pub fn system_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_not_used_again_at_once() {
        let mut pool = AddressPool::pods();
        let first = pool.allocate().unwrap();
        pool.release(first);
        let second = pool.allocate().unwrap();
        assert_eq!(
            [first.to_string(), second.to_string()],
            ["10.244.0.2", "10.244.0.3"]
        );
        assert!(matches!(pool.reserve(second), Err(NetworkError::Taken(_))));
        // Addresses outside the pool stand for machines outside the mesh.
        assert!(pool.reserve("203.0.113.5".parse().unwrap()).is_ok());
    }

    #[test]
    fn a_link_is_planned_in_both_namespaces() {
        let link = PodLink {
            index: 258,
            address: "10.244.0.9".parse().unwrap(),
            pid: 42,
        };
        assert_eq!(
            link.router_batch(),
            "link add v258 address ee:ee:ee:ee:ee:ee type veth peer name eth0 address 02:00:00:00:01:02 netns 42\n\
             link set v258 up\n\
             neigh add 10.244.0.9 lladdr 02:00:00:00:01:02 dev v258 nud permanent\n\
             route add 10.244.0.9/32 dev v258\n"
        );
        assert!(
            link.pod_batch()
                .contains("addr add 10.244.0.9/32 dev eth0\n")
        );
    }
}
