//! The command line of `weft-redirect`: the flags of `istio-iptables`, so that injection templates
//! written for Istio fit.

use std::net::IpAddr;

use clap::{Parser, ValueEnum};

use crate::{
    Capture, CaptureError, InboundMode, Ports, Ranges, Tool,
    capture::{DnsCapture, PROXY_PORTS, entries},
    rules::PolicyRouting,
};

/// Redirects a pod's traffic to its sidecar, in the current network namespace.
#[derive(Debug, Parser)]
#[command(name = "weft-redirect", version)]
pub struct Args {
    /// Accepted for templates that name Istio's subcommand
    #[arg(value_name = "istio-iptables", value_parser = ["istio-iptables"], hide = true)]
    subcommand: Option<String>,
    /// Port of the proxy for outbound connections
    #[arg(short = 'p', long = "envoy-port", default_value_t = 15001)]
    outbound_port: u16,
    /// Port of the proxy for inbound connections
    #[arg(short = 'z', long = "inbound-capture-port", default_value_t = 15006)]
    inbound_port: u16,
    /// Tunnel port, never captured
    #[arg(short = 'e', long = "inbound-tunnel-port", default_value_t = 15008)]
    tunnel_port: u16,
    /// User ids of the proxy, exempt from capture
    #[arg(short = 'u', long = "proxy-uid", default_value = "1337")]
    proxy_uid: String,
    /// Group ids of the proxy, exempt from capture
    #[arg(short = 'g', long = "proxy-gid", default_value = "1337")]
    proxy_gid: String,
    /// Socket mark of the proxy, exempt from capture; replaces user ids that do not exist here
    #[arg(long, env = "WEFT_SOCKET_MARK")]
    socket_mark: Option<u32>,
    /// REDIRECT or TPROXY
    #[arg(
        short = 'm',
        long = "istio-inbound-interception-mode",
        default_value = "REDIRECT"
    )]
    inbound_mode: String,
    /// Mark of diverted packets in TPROXY mode
    #[arg(
        short = 't',
        long = "istio-inbound-tproxy-mark",
        default_value_t = 1337
    )]
    tproxy_mark: u32,
    /// Routing table of diverted packets in TPROXY mode
    #[arg(
        short = 'r',
        long = "istio-inbound-tproxy-route-table",
        default_value_t = 133
    )]
    tproxy_route_table: u32,
    /// Outbound address ranges to capture, or *
    #[arg(short = 'i', long = "istio-service-cidr", default_value = "*")]
    include_ranges: String,
    /// Outbound address ranges to leave alone
    #[arg(short = 'x', long = "istio-service-exclude-cidr", default_value = "")]
    exclude_ranges: String,
    /// Inbound ports to capture, or *
    #[arg(short = 'b', long = "istio-inbound-ports", default_value = "*")]
    include_inbound_ports: String,
    /// Inbound ports to leave alone; 15020, 15021 and 15090 always are
    #[arg(short = 'd', long = "istio-local-exclude-ports", default_value = "")]
    exclude_inbound_ports: String,
    /// Outbound ports to capture whatever their destination
    #[arg(short = 'q', long = "istio-outbound-ports", default_value = "")]
    include_outbound_ports: String,
    /// Outbound ports to leave alone
    #[arg(
        short = 'o',
        long = "istio-local-outbound-ports-exclude",
        default_value = ""
    )]
    exclude_outbound_ports: String,
    /// Interfaces to leave alone
    #[arg(short = 'c', long = "istio-exclude-interfaces", default_value = "")]
    exclude_interfaces: String,
    /// Interfaces of virtual machines whose inbound traffic counts as outbound
    #[arg(short = 'k', long = "kube-virt-interfaces", default_value = "")]
    reroute_interfaces: String,
    /// Send DNS queries to the resolvers of /etc/resolv.conf to the proxy
    #[arg(long)]
    redirect_dns: bool,
    /// With --redirect-dns: send all DNS queries to the proxy
    #[arg(long)]
    capture_all_dns: bool,
    /// Drop packets that connection tracking calls invalid
    #[arg(long)]
    drop_invalid: bool,
    /// Program that loads the rules
    #[arg(long, value_enum, default_value = "auto")]
    tool: ToolArg,
    /// Print the rules and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Remove the rules
    #[arg(long)]
    pub cleanup: bool,
    /// Check that rules are in force, which takes no privileges; exit code 126 if they are not
    #[arg(long)]
    pub run_validation: bool,
    /// Apply no rules, because a CNI plugin has
    #[arg(long)]
    pub skip_rule_apply: bool,
    /// Accepted and ignored, for Istio's templates
    #[arg(long = "log_output_level", hide = true)]
    log_output_level: Option<String>,
    /// Accepted and ignored: rules are always restored in one transaction
    #[arg(short = 'f', long = "restore-format", hide = true, num_args = 0..=1)]
    restore_format: Option<Option<bool>>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ToolArg {
    Auto,
    Nft,
    Iptables,
}

impl Args {
    /// The capture these arguments ask for; `resolv_conf` names the resolvers for `--redirect-dns`.
    pub fn capture(&self, resolv_conf: &str) -> Result<Capture, CaptureError> {
        let mut exclude_inbound_ports = list(&self.exclude_inbound_ports)?;
        exclude_inbound_ports.extend(PROXY_PORTS);
        let dns = self.redirect_dns.then(|| DnsCapture {
            port: 15053,
            servers: (!self.capture_all_dns).then(|| nameservers(resolv_conf)),
        });
        Ok(Capture {
            outbound_port: self.outbound_port,
            inbound_port: self.inbound_port,
            tunnel_port: self.tunnel_port,
            proxy_uids: ids(&self.proxy_uid)?,
            proxy_gids: ids(&self.proxy_gid)?,
            socket_mark: self.socket_mark,
            inbound_mode: self.inbound_mode.parse::<InboundMode>()?,
            tproxy_mark: self.tproxy_mark,
            tproxy_route_table: self.tproxy_route_table,
            include_ranges: self.include_ranges.parse()?,
            exclude_ranges: match self.exclude_ranges.parse()? {
                Ranges::All => return Err(CaptureError::Range("*".into())),
                Ranges::List(ranges) => ranges,
            },
            include_inbound_ports: self.include_inbound_ports.parse()?,
            exclude_inbound_ports,
            include_outbound_ports: list(&self.include_outbound_ports)?,
            exclude_outbound_ports: list(&self.exclude_outbound_ports)?,
            exclude_interfaces: entries(&self.exclude_interfaces)
                .map(str::to_owned)
                .collect(),
            reroute_interfaces: entries(&self.reroute_interfaces)
                .map(str::to_owned)
                .collect(),
            dns,
            drop_invalid: self.drop_invalid,
        })
    }

    /// The tool, unless it is to be found out.
    pub fn tool(&self) -> Option<Tool> {
        match self.tool {
            ToolArg::Auto => None,
            ToolArg::Nft => Some(Tool::Nft),
            ToolArg::Iptables => Some(Tool::Iptables),
        }
    }

    /// Where the proxy takes inbound connections.
    pub fn inbound_port(&self) -> u16 {
        self.inbound_port
    }

    /// Policy routing that TPROXY mode uses.
    pub fn routing(&self) -> PolicyRouting {
        PolicyRouting {
            mark: self.tproxy_mark,
            table: self.tproxy_route_table,
        }
    }
}

fn list(text: &str) -> Result<std::collections::BTreeSet<u16>, CaptureError> {
    match text.parse()? {
        Ports::All => Err(CaptureError::Port("*".into())),
        Ports::List(ports) => Ok(ports),
    }
}

fn ids(text: &str) -> Result<Vec<u32>, CaptureError> {
    entries(text)
        .map(|entry| {
            entry
                .parse()
                .map_err(|_| CaptureError::Id(entry.to_owned()))
        })
        .collect()
}

fn nameservers(resolv_conf: &str) -> Vec<IpAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then(|| words.next()?.parse().ok())?
    };
    resolv_conf.lines().filter_map(server).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(args: &[&str]) -> Result<Capture, CaptureError> {
        let args = Args::try_parse_from(std::iter::once(&"weft-redirect").chain(args))
            .expect("flags are known");
        args.capture("search a.b\nnameserver 10.96.0.10\nnameserver fd00::a # second\n")
    }

    #[test]
    fn istios_init_container_arguments_give_the_defaults() {
        let args = [
            "istio-iptables",
            "-p",
            "15001",
            "-z",
            "15006",
            "-u",
            "1337",
            "-m",
            "REDIRECT",
            "-i",
            "*",
            "-x",
            "",
            "-b",
            "*",
            "-d",
            "15090,15021,15020",
            "--log_output_level=default:info",
        ];
        assert_eq!(capture(&args), Ok(Capture::default()));
    }

    #[test]
    fn the_proxys_ports_stay_excluded() {
        let found = capture(&["-d", "9000"]).unwrap().exclude_inbound_ports;
        assert_eq!(found, [9000, 15020, 15021, 15090].into());
    }

    #[test]
    fn dns_capture_takes_the_pods_resolvers() {
        let servers = Some(vec![
            "10.96.0.10".parse().unwrap(),
            "fd00::a".parse().unwrap(),
        ]);
        assert_eq!(
            capture(&["--redirect-dns"]).unwrap().dns,
            Some(DnsCapture {
                port: 15053,
                servers
            })
        );
        let all = capture(&["--redirect-dns", "--capture-all-dns"])
            .unwrap()
            .dns;
        assert_eq!(
            all,
            Some(DnsCapture {
                port: 15053,
                servers: None
            })
        );
    }

    #[test]
    fn exclusions_must_be_named() {
        assert_eq!(capture(&["-x", "*"]), Err(CaptureError::Range("*".into())));
        assert_eq!(capture(&["-o", "*"]), Err(CaptureError::Port("*".into())));
        assert_eq!(
            capture(&["-u", "root"]),
            Err(CaptureError::Id("root".into()))
        );
    }
}
