//! The rule model: an ordered list of rules that both renderers translate line by line.
//!
//! A [`Ruleset`] has base chains (attached to a kernel hook) and chains of our own that they jump
//! to. The order is Istio's; where ours differs the rule says so. Nothing in here knows the syntax
//! of a tool, so that nft and iptables cannot drift apart.

mod build;

use ipnet::IpNet;

/// Address family of a rule that names an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

/// Where a base chain is attached: the table and built-in chain in iptables' words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// raw/PREROUTING
    RawPrerouting,
    /// raw/OUTPUT
    RawOutput,
    /// mangle/PREROUTING
    ManglePrerouting,
    /// mangle/OUTPUT
    MangleOutput,
    /// nat/PREROUTING
    NatPrerouting,
    /// nat/OUTPUT
    NatOutput,
}

impl Hook {
    /// iptables' table name.
    pub fn table(self) -> &'static str {
        match self {
            Self::RawPrerouting | Self::RawOutput => "raw",
            Self::ManglePrerouting | Self::MangleOutput => "mangle",
            Self::NatPrerouting | Self::NatOutput => "nat",
        }
    }

    /// iptables' name of the built-in chain.
    pub fn builtin(self) -> &'static str {
        match self {
            Self::RawPrerouting | Self::ManglePrerouting | Self::NatPrerouting => "PREROUTING",
            Self::RawOutput | Self::MangleOutput | Self::NatOutput => "OUTPUT",
        }
    }
}

/// Transport protocol of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proto {
    /// TCP
    Tcp,
    /// UDP
    Udp,
}

/// One condition of a rule; all conditions of a rule must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// Destination port; needs a protocol.
    Dport(u16),
    /// Any destination port but these; needs a protocol.
    NotDports(Vec<u16>),
    /// Source port; needs a protocol.
    Sport(u16),
    /// Source prefix.
    Source(IpNet),
    /// Destination prefix.
    Dest(IpNet),
    /// Any destination outside this prefix.
    NotDest(IpNet),
    /// Incoming interface.
    InInterface(String),
    /// Outgoing interface.
    OutInterface(String),
    /// The socket belongs to this identity.
    Owner(Owner),
    /// The socket belongs to somebody else.
    NotOwner(Owner),
    /// The packet's mark.
    Mark(u32),
    /// Any other packet mark.
    NotMark(u32),
    /// The connection's mark.
    ConnMark(u32),
    /// Packets of connections known to connection tracking.
    Established,
    /// Packets that connection tracking cannot place.
    Invalid,
}

/// How the proxy's own sockets are told from the application's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// By user id.
    Uid(u32),
    /// By group id.
    Gid(u32),
    /// By `SO_MARK`, where user ids cannot be told apart.
    Mark(u32),
}

/// What happens to a packet that matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Leave our chain: the packet goes where it was going.
    Return,
    /// Accept in this hook.
    Accept,
    /// Drop the packet.
    Drop,
    /// Continue in one of our chains.
    Jump(&'static str),
    /// Send to this port on this machine.
    Redirect(u16),
    /// Hand to the transparent socket on `port` and mark the packet.
    Tproxy {
        /// Port of the transparent listener.
        port: u16,
        /// Mark that routes the packet to this machine.
        mark: u32,
    },
    /// Mark the packet.
    SetMark(u32),
    /// Remember the packet's mark on the connection.
    SaveMark,
    /// Give the packet its connection's mark.
    RestoreMark,
    /// Track the connection in a zone of its own.
    Zone(u16),
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Why it is there; rendered as a comment.
    pub why: &'static str,
    /// Protocol, if it matters.
    pub proto: Option<Proto>,
    /// Conditions, in the order in which they are rendered.
    pub matches: Vec<Match>,
    /// Effect.
    pub verdict: Verdict,
}

impl Rule {
    /// The family of the addresses it names; `None` applies to both.
    pub fn family(&self) -> Option<Family> {
        self.matches.iter().find_map(|condition| match condition {
            Match::Source(net) | Match::Dest(net) | Match::NotDest(net) => Some(match net {
                IpNet::V4(_) => Family::V4,
                IpNet::V6(_) => Family::V6,
            }),
            _ => None,
        })
    }
}

/// A chain of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Name in iptables' style; nft renders it in lower case.
    pub name: &'static str,
    /// Hook whose table it lives in.
    pub hook: Hook,
    /// Rules in order.
    pub rules: Vec<Rule>,
}

/// Rules attached to a kernel hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseChain {
    /// Where.
    pub hook: Hook,
    /// Rules in order.
    pub rules: Vec<Rule>,
}

/// A complete set of capture rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    /// Chains of our own; a chain stands before those that jump to it.
    pub chains: Vec<Chain>,
    /// Attachments, ordered by hook.
    pub bases: Vec<BaseChain>,
    /// Policy routing needed by TPROXY.
    pub routing: Option<PolicyRouting>,
}

/// Packets with `mark` are delivered locally through routing `table`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyRouting {
    /// Packet mark.
    pub mark: u32,
    /// Routing table.
    pub table: u32,
}
