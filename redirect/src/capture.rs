//! What to capture: the parameters of `istio-iptables` as values.
//!
//! Text forms (`*`, comma-separated lists) are parsed here once, so that the rule builder only sees
//! ports, prefixes and user ids.

use std::{collections::BTreeSet, net::IpAddr, str::FromStr};

use ipnet::IpNet;

/// Ports on which a sidecar itself answers; they are never captured: merged metrics, health,
/// proxy metrics.
pub const PROXY_PORTS: [u16; 3] = [15020, 15021, 15090];

/// A parameter that cannot be understood, or two that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    /// A list entry that is no port.
    #[error("\"{0}\" is not a port: expected a number from 1 to 65535")]
    Port(String),
    /// A list entry that is no IP prefix.
    #[error("\"{0}\" is not an address range: expected a CIDR such as 10.96.0.0/16")]
    Range(String),
    /// A user or group that is no number.
    #[error("\"{0}\" is not a numeric user or group id")]
    Id(String),
    /// An unknown interception mode.
    #[error("\"{0}\" is not an interception mode: expected REDIRECT or TPROXY")]
    Mode(String),
    /// An interface name the kernel would refuse, or that would change the script's meaning.
    #[error("\"{0}\" is not an interface name")]
    Interface(String),
    /// The exemption mark equals the mark that TPROXY needs for itself.
    #[error("socket mark {0} is also the TPROXY mark: choose another with --socket-mark")]
    MarkConflict(u32),
}

/// A set of ports: all of them, or those listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ports {
    /// `*`
    All,
    /// A list, possibly empty.
    List(BTreeSet<u16>),
}

impl FromStr for Ports {
    type Err = CaptureError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim() == "*" {
            return Ok(Self::All);
        }
        entries(text)
            .map(|entry| {
                entry
                    .parse()
                    .ok()
                    .filter(|port| *port != 0)
                    .ok_or_else(|| CaptureError::Port(entry.to_owned()))
            })
            .collect::<Result<_, _>>()
            .map(Self::List)
    }
}

/// A set of destination addresses: all of them, or those listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ranges {
    /// `*`
    All,
    /// A list, possibly empty; both address families may occur.
    List(Vec<IpNet>),
}

impl Ranges {
    /// Whether loopback addresses are asked for by name.
    pub(crate) fn names_loopback(&self) -> bool {
        match self {
            Self::All => false,
            Self::List(ranges) => ranges.iter().any(|range| range.addr().is_loopback()),
        }
    }
}

impl FromStr for Ranges {
    type Err = CaptureError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim() == "*" {
            return Ok(Self::All);
        }
        entries(text)
            .map(|entry| {
                entry
                    .parse::<IpNet>()
                    .or_else(|_| entry.parse::<IpAddr>().map(IpNet::from))
                    .map(|range| range.trunc())
                    .map_err(|_| CaptureError::Range(entry.to_owned()))
            })
            .collect::<Result<_, _>>()
            .map(Self::List)
    }
}

/// How inbound connections reach the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InboundMode {
    /// Destination NAT; the proxy reads `SO_ORIGINAL_DST`.
    Redirect,
    /// Transparent sockets; the client's address is kept.
    Tproxy,
}

impl FromStr for InboundMode {
    type Err = CaptureError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" | "REDIRECT" => Ok(Self::Redirect),
            "TPROXY" => Ok(Self::Tproxy),
            other => Err(CaptureError::Mode(other.to_owned())),
        }
    }
}

/// Everything that decides which connections reach the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// Where outbound connections go (`-p`).
    pub outbound_port: u16,
    /// Where inbound connections go (`-z`).
    pub inbound_port: u16,
    /// HBONE port, never captured (`-e`).
    pub tunnel_port: u16,
    /// The proxy's user ids; their connections are exempt (`-u`).
    pub proxy_uids: Vec<u32>,
    /// The proxy's group ids; their connections are exempt (`-g`).
    pub proxy_gids: Vec<u32>,
    /// Connections whose socket carries this mark are exempt like those of the proxy's user.
    pub socket_mark: Option<u32>,
    /// REDIRECT or TPROXY for inbound (`-m`).
    pub inbound_mode: InboundMode,
    /// Mark of diverted packets in TPROXY mode (`-t`).
    pub tproxy_mark: u32,
    /// Routing table of diverted packets in TPROXY mode (`-r`).
    pub tproxy_route_table: u32,
    /// Outbound destinations to capture (`-i`).
    pub include_ranges: Ranges,
    /// Outbound destinations to leave alone (`-x`).
    pub exclude_ranges: Vec<IpNet>,
    /// Inbound ports to capture (`-b`).
    pub include_inbound_ports: Ports,
    /// Inbound ports to leave alone where all are captured (`-d`).
    pub exclude_inbound_ports: BTreeSet<u16>,
    /// Outbound ports captured whatever their destination (`-q`).
    pub include_outbound_ports: BTreeSet<u16>,
    /// Outbound ports to leave alone (`-o`).
    pub exclude_outbound_ports: BTreeSet<u16>,
    /// Interfaces whose traffic is left alone (`-c`).
    pub exclude_interfaces: Vec<String>,
    /// Interfaces whose inbound traffic counts as outbound (`-k`), for virtual machines in a pod.
    pub reroute_interfaces: Vec<String>,
    /// Where captured DNS goes (`--redirect-dns`); `None` leaves DNS alone.
    pub dns: Option<DnsCapture>,
    /// Drop packets that connection tracking calls invalid (`--drop-invalid`).
    pub drop_invalid: bool,
}

/// DNS capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsCapture {
    /// The proxy's DNS port.
    pub port: u16,
    /// Resolvers whose traffic is captured; `None` captures every query on port 53.
    pub servers: Option<Vec<IpAddr>>,
}

impl Default for Capture {
    /// Istio's defaults for an injected pod.
    fn default() -> Self {
        Self {
            outbound_port: 15001,
            inbound_port: 15006,
            tunnel_port: 15008,
            proxy_uids: vec![1337],
            proxy_gids: vec![1337],
            socket_mark: None,
            inbound_mode: InboundMode::Redirect,
            tproxy_mark: 1337,
            tproxy_route_table: 133,
            include_ranges: Ranges::All,
            exclude_ranges: Vec::new(),
            include_inbound_ports: Ports::All,
            exclude_inbound_ports: PROXY_PORTS.into(),
            include_outbound_ports: BTreeSet::new(),
            exclude_outbound_ports: BTreeSet::new(),
            exclude_interfaces: Vec::new(),
            reroute_interfaces: Vec::new(),
            dns: None,
            drop_invalid: false,
        }
    }
}

impl Capture {
    /// Checks what single parameters cannot know of each other.
    pub fn validate(&self) -> Result<(), CaptureError> {
        let mut names = self
            .exclude_interfaces
            .iter()
            .chain(&self.reroute_interfaces);
        if let Some(bad) = names.find(|name| !is_interface(name)) {
            return Err(CaptureError::Interface(bad.clone()));
        }
        match self.socket_mark {
            Some(mark) if self.inbound_mode == InboundMode::Tproxy && mark == self.tproxy_mark => {
                Err(CaptureError::MarkConflict(mark))
            }
            _ => Ok(()),
        }
    }
}

/// The non-empty entries of a comma-separated list.
pub(crate) fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
}

/// Interface names reach scripts verbatim: only what cannot change a script's meaning is let in.
/// A final `+` is iptables' wildcard, as in Istio's annotation.
fn is_interface(name: &str) -> bool {
    let stem = name.strip_suffix('+').unwrap_or(name);
    (1..=15).contains(&name.len())
        && stem
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.@:".contains(&byte))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("*", Ok(Ports::All))]
    #[case("", Ok(Ports::List(BTreeSet::new())))]
    #[case("80, 443,80", Ok(Ports::List([80, 443].into())))]
    #[case("80,http", Err(CaptureError::Port("http".into())))]
    #[case("0", Err(CaptureError::Port("0".into())))]
    #[case("65536", Err(CaptureError::Port("65536".into())))]
    fn ports(#[case] text: &str, #[case] expected: Result<Ports, CaptureError>) {
        assert_eq!(text.parse(), expected);
    }

    #[rstest]
    #[case("*", Ok(Ranges::All))]
    #[case("10.1.2.3/8,2001:db8::/32,1.2.3.4", Ok(Ranges::List(vec![
        "10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap(), "1.2.3.4/32".parse().unwrap(),
    ])))]
    #[case("10.0.0.0/33", Err(CaptureError::Range("10.0.0.0/33".into())))]
    fn ranges(#[case] text: &str, #[case] expected: Result<Ranges, CaptureError>) {
        assert_eq!(text.parse(), expected);
    }

    #[test]
    fn an_interface_name_cannot_smuggle_a_rule() {
        let capture = Capture {
            exclude_interfaces: vec!["a\" accept".into()],
            ..Capture::default()
        };
        assert_eq!(
            capture.validate(),
            Err(CaptureError::Interface("a\" accept".into()))
        );
        let capture = Capture {
            exclude_interfaces: vec!["veth+".into()],
            ..Capture::default()
        };
        assert_eq!(capture.validate(), Ok(()));
    }

    #[test]
    fn the_exemption_mark_must_not_be_the_tproxy_mark() {
        let capture = Capture {
            inbound_mode: InboundMode::Tproxy,
            socket_mark: Some(1337),
            ..Capture::default()
        };
        assert_eq!(capture.validate(), Err(CaptureError::MarkConflict(1337)));
    }
}
