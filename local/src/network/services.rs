//! Services as nft rules in the router, as kube-proxy does it: a connection to a cluster address
//! goes to a random ready endpoint; without one it is refused.

use std::{
    collections::BTreeMap,
    fmt::Write,
    net::{Ipv4Addr, SocketAddrV4},
};

use super::ROUTER;

/// Transport protocol of a service port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
}

impl Protocol {
    fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// What clients connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Frontend {
    /// Cluster address.
    pub address: Ipv4Addr,
    /// Service port.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
}

/// All services with their ready endpoints.
pub type Services = BTreeMap<Frontend, Vec<SocketAddrV4>>;

/// The script that replaces all service rules; `pods` are the addresses of all pods.
pub fn render(services: &Services, pods: &[Ipv4Addr]) -> String {
    let mut out = String::from("table ip weft\ndelete table ip weft\ntable ip weft {\n");
    write_hairpin(&mut out, pods);
    out.push_str("\tchain services {\n");
    for (frontend, endpoints) in services
        .iter()
        .filter(|(_, endpoints)| !endpoints.is_empty())
    {
        let Frontend {
            address,
            port,
            protocol,
        } = frontend;
        let target = match endpoints.as_slice() {
            [only] => only.to_string(),
            many => {
                let choice = |(index, to): (usize, &SocketAddrV4)| {
                    format!("{index} : {} . {}", to.ip(), to.port())
                };
                let choices: Vec<_> = many.iter().enumerate().map(choice).collect();
                format!(
                    "numgen random mod {} map {{ {} }}",
                    many.len(),
                    choices.join(", ")
                )
            }
        };
        // With a map the address and port come as one value.
        let form = if endpoints.len() == 1 {
            "dnat to"
        } else {
            "dnat ip addr . port to"
        };
        let _ = writeln!(
            out,
            "\t\tip daddr {address} {} dport {port} {form} {target}",
            protocol.word()
        );
    }
    out.push_str("\t}\n");
    for (chain, hook) in [("prerouting", "prerouting"), ("output", "output")] {
        let _ = writeln!(
            out,
            "\tchain {chain} {{\n\t\ttype nat hook {hook} priority -100; policy accept;\n\t\tip daddr 10.96.0.0/16 jump services\n\t}}\n\
             \tchain refuse_{chain} {{\n\t\ttype filter hook {hook} priority -90; policy accept;\n\
             \t\tip daddr 10.96.0.0/16 meta l4proto tcp reject with tcp reset\n\t\tip daddr 10.96.0.0/16 reject\n\t}}"
        );
    }
    out.push_str("}\n");
    out
}

/// A pod that reaches itself through a service must see another source than itself, else its kernel
/// drops the packet as forged.
fn write_hairpin(out: &mut String, pods: &[Ipv4Addr]) {
    let pairs: Vec<_> = pods.iter().map(|pod| format!("{pod} . {pod}")).collect();
    out.push_str("\tset hairpin {\n\t\ttype ipv4_addr . ipv4_addr\n");
    if !pairs.is_empty() {
        let _ = writeln!(out, "\t\telements = {{ {} }}", pairs.join(", "));
    }
    let _ = writeln!(
        out,
        "\t}}\n\tchain postrouting {{\n\t\ttype nat hook postrouting priority 100; policy accept;\n\
         \t\tip saddr . ip daddr @hairpin snat to {ROUTER}\n\t}}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_frontend_chooses_among_its_endpoints() {
        let frontend = |last, port| Frontend {
            address: Ipv4Addr::new(10, 96, 0, last),
            port,
            protocol: Protocol::Tcp,
        };
        let endpoint = |text: &str| text.parse().unwrap();
        let services = Services::from([
            (frontend(16, 80), vec![endpoint("10.244.0.2:8080")]),
            (
                frontend(17, 9080),
                vec![endpoint("10.244.0.3:9080"), endpoint("10.244.0.4:9080")],
            ),
            (frontend(18, 80), vec![]),
        ]);
        let script = render(&services, &[Ipv4Addr::new(10, 244, 0, 2)]);
        let rules: Vec<_> = script
            .lines()
            .map(str::trim)
            .filter(|line| line.contains("dnat") || line.contains("elements"))
            .collect();
        assert_eq!(
            rules,
            [
                "elements = { 10.244.0.2 . 10.244.0.2 }",
                "ip daddr 10.96.0.16 tcp dport 80 dnat to 10.244.0.2:8080",
                "ip daddr 10.96.0.17 tcp dport 9080 dnat ip addr . port to numgen random mod 2 map { 0 : 10.244.0.3 . 9080, 1 : 10.244.0.4 . 9080 }",
            ]
        );
    }
}
