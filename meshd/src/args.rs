//! The command line of `meshd`.

pub mod kubernetes;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use citadel::serving::{ClientAuth, ClientCa};
use clap::{Parser, ValueEnum};
use mesh_api::identity::TrustDomain;
use mesh_runtime::log::Format;

use kubernetes::KubernetesArgs;

/// The control plane of the mesh.
#[derive(Clone, Debug, Parser)]
#[command(name = "meshd", version)]
pub struct Args {
    /// Directory of YAML and JSON to read the configuration from, watched; a later one overrides an earlier
    #[arg(long, value_name = "DIR", required_unless_present = "kubernetes")]
    pub config_dir: Vec<PathBuf>,

    /// The cluster to serve, instead of directories.
    #[command(flatten)]
    pub cluster: KubernetesArgs,

    /// JWKS file that verifies service-account tokens; without it only client certificates are accepted
    #[arg(long, value_name = "FILE", requires = "token_issuer")]
    pub jwks_file: Option<PathBuf>,

    /// Issuer that service-account tokens must name
    #[arg(long, value_name = "URL")]
    pub token_issuer: Option<String>,

    /// Directory of the certificate authority, filled with a self-signed one if it is empty
    #[arg(long, value_name = "DIR", required_unless_present = "kubernetes")]
    pub ca_dir: Option<PathBuf>,

    /// Directory to write root-cert.pem to, whenever the roots change
    #[arg(long, value_name = "DIR")]
    pub publish_root: Option<PathBuf>,

    /// Name of this cluster
    #[arg(long, value_name = "NAME", default_value = "Kubernetes")]
    pub cluster_id: String,

    /// Trust domain of the mesh, instead of the mesh configuration's
    #[arg(long, value_name = "NAME")]
    pub trust_domain: Option<TrustDomain>,

    /// Address of discovery and certificate signing over TLS
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:15012")]
    pub xds_address: SocketAddr,

    /// Address of the same in plaintext, where every peer is believed
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:15010")]
    pub plaintext_address: SocketAddr,

    /// Address of metrics, readiness and debugging
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:15014")]
    pub http_address: SocketAddr,

    /// Address of the admission webhooks
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:15017")]
    pub webhook_address: SocketAddr,

    /// PEM file of the authority whose certificates callers of the webhooks must show; without it nobody is asked
    #[arg(long, value_name = "FILE")]
    pub webhook_client_ca: Option<PathBuf>,

    /// Name of which such a certificate must have one, as common name, DNS name or URI
    #[arg(long, value_name = "NAME", requires = "webhook_client_ca")]
    pub webhook_client_name: Vec<String>,

    /// Further name or address of this server, for its certificate
    #[arg(long, value_name = "NAME")]
    pub server_name: Vec<String>,

    /// Lifetime of workload certificates that do not ask for another
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration)]
    pub workload_ttl: Duration,

    /// Image of proxy and init container in injected pods
    #[arg(long, value_name = "IMAGE")]
    pub proxy_image: Option<String>,

    /// How long to go on serving after a stop signal, so that clients are sent elsewhere first; 5s in a cluster
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub shutdown_delay: Option<Duration>,

    /// Parts to run
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_values = ["pilot", "citadel", "injector", "galley"]
    )]
    pub components: Vec<Component>,

    /// Log filter, such as info,pilot=debug
    #[arg(long, env = "WEFT_LOG", default_value = mesh_runtime::log::DEFAULT_FILTER)]
    pub log: String,

    /// text or json
    #[arg(long, default_value_t)]
    pub log_format: Format,

    /// Where to send traces of the control plane itself by OTLP over gRPC in plaintext; without it there are none
    #[arg(
        long,
        value_name = "http://HOST:PORT",
        env = "OTEL_EXPORTER_OTLP_ENDPOINT"
    )]
    pub otlp_endpoint: Option<String>,
}

/// A part of the control plane. Configuration is always read; what is not listed is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Component {
    /// Discovery.
    Pilot,
    /// Certificate signing.
    Citadel,
    /// The injection webhook.
    Injector,
    /// The validation webhook.
    Galley,
}

/// Names of the control plane's Service, which its certificate always carries.
const SERVER_NAMES: [&str; 5] = [
    "istiod.istio-system.svc",
    "istiod.istio-system.svc.cluster.local",
    "istiod",
    "localhost",
    "127.0.0.1",
];

/// Time for the endpoint controllers and every node's kube-proxy to take a replica out of its Service.
const CLUSTER_SHUTDOWN_DELAY: Duration = Duration::from_secs(5);

impl Args {
    /// Whether a part is to run.
    pub fn runs(&self, component: Component) -> bool {
        self.components.contains(&component)
    }

    /// Every name that the server's certificate carries.
    pub fn server_names(&self) -> Vec<String> {
        let mut names: Vec<String> = SERVER_NAMES.map(str::to_owned).to_vec();
        let of_service = match self.cluster.kubernetes {
            true => self.cluster.service_dns_names(),
            false => Vec::new(),
        };
        for name in of_service.iter().chain(&self.server_name) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    /// Whether callers of the webhooks show certificates.
    pub fn webhook_clients(&self) -> ClientAuth {
        match &self.webhook_client_ca {
            None => ClientAuth::None,
            Some(file) => ClientAuth::Required(ClientCa {
                file: file.clone(),
                names: self.webhook_client_name.clone(),
            }),
        }
    }

    /// How long to go on serving after a stop signal.
    pub fn shutdown_delay(&self) -> Duration {
        let default = match self.cluster.kubernetes {
            true => CLUSTER_SHUTDOWN_DELAY,
            false => Duration::ZERO,
        };
        self.shutdown_delay.unwrap_or(default)
    }
}

/// A number with a unit (`90s`, `15m`, `24h`, `7d`).
fn duration(text: &str) -> Result<Duration, String> {
    let split = text.len() - text.chars().last().map_or(0, char::len_utf8);
    let (number, unit) = text.split_at(split);
    let unit_seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("expected a number with one of the units s, m, h, d".to_owned()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "expected a number before the unit".to_owned())?;
    let seconds = number
        .checked_mul(unit_seconds)
        .filter(|seconds| *seconds > 0);
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| "the duration is out of range".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(more: &[&str]) -> Result<Args, clap::Error> {
        let base = ["meshd", "--config-dir", "a", "--ca-dir", "ca"];
        Args::try_parse_from(base.iter().chain(more))
    }

    #[test]
    fn the_defaults_are_istios_ports_and_all_parts() {
        let args = parse(&[]).unwrap();
        assert_eq!(args.xds_address.port(), 15012);
        assert!(args.plaintext_address.ip().is_loopback());
        assert_eq!(args.workload_ttl, Duration::from_secs(86_400));
        assert!(args.runs(Component::Pilot) && args.runs(Component::Injector));
        assert!(
            args.server_names()
                .contains(&"istiod.istio-system.svc".to_owned())
        );
    }

    #[test]
    fn a_cluster_needs_no_directories() {
        let args = Args::try_parse_from(["meshd", "--kubernetes", "--revision", "canary"]).unwrap();
        assert!(
            args.server_names()
                .contains(&"istiod-canary.istio-system.svc".to_owned())
        );
        assert_eq!(args.shutdown_delay(), Duration::from_secs(5));
        assert_eq!(parse(&[]).unwrap().shutdown_delay(), Duration::ZERO);
        assert!(Args::try_parse_from(["meshd"]).is_err());
        assert!(parse(&["--kubernetes"]).is_err());
    }

    #[test]
    fn keys_without_an_issuer_are_refused() {
        assert!(parse(&["--jwks-file", "keys"]).is_err());
        assert!(parse(&["--jwks-file", "keys", "--token-issuer", "https://i"]).is_ok());
    }

    #[test]
    fn callers_of_the_webhooks_show_certificates_if_an_authority_is_given() {
        assert_eq!(parse(&[]).unwrap().webhook_clients(), ClientAuth::None);
        assert!(parse(&["--webhook-client-name", "kube-apiserver"]).is_err());
        let args = parse(&[
            "--webhook-client-ca",
            "ca.pem",
            "--webhook-client-name",
            "kube-apiserver",
        ]);
        let expected = ClientCa {
            file: "ca.pem".into(),
            names: vec!["kube-apiserver".to_owned()],
        };
        assert_eq!(
            args.unwrap().webhook_clients(),
            ClientAuth::Required(expected)
        );
    }

    #[test]
    fn parts_names_and_lifetimes() {
        let args = parse(&[
            "--components",
            "pilot,citadel",
            "--server-name",
            "meshd.test",
            "--workload-ttl",
            "90m",
        ])
        .unwrap();
        assert!(!args.runs(Component::Injector));
        assert_eq!(args.server_names().last().unwrap(), "meshd.test");
        assert_eq!(args.workload_ttl, Duration::from_secs(5400));
        for bad in ["", "h", "0h", "1w", "ten", "1é", "99999999999999999999d"] {
            assert!(parse(&["--workload-ttl", bad]).is_err(), "{bad}");
        }
    }
}
