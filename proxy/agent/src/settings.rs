//! What the injector told this pod's proxy: environment, token and root files, pod information.
//!
//! Names and defaults are those of Istio's agent, so that Istio's templates start this proxy as well.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// Sidecar or gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Beside an application.
    Sidecar,
    /// A gateway of its own.
    Router,
}

impl Role {
    /// The first part of a node id.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sidecar => "sidecar",
            Self::Router => "router",
        }
    }
}

/// Life of certificates unless `SECRET_TTL` says otherwise, as in Istio.
const CERTIFICATE_TTL: Duration = Duration::from_secs(24 * 60 * 60);
const MINIMUM_DRAIN: &str = "MINIMUM_DRAIN_DURATION";
/// As in Istio.
const MINIMUM_DRAIN_DEFAULT: Duration = Duration::from_secs(5);

/// Why the agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A variable is missing.
    #[error("environment variable {0} is not set")]
    Missing(&'static str),
    /// A variable does not mean anything.
    #[error("environment variable {name} is \"{value}\": {reason}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What is wrong.
        reason: String,
    },
}

/// Everything that was told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Sidecar or gateway.
    pub role: Role,
    /// `POD_NAME`.
    pub pod_name: String,
    /// `POD_NAMESPACE`.
    pub namespace: String,
    /// `INSTANCE_IP`; several are separated by commas.
    pub addresses: Vec<IpAddr>,
    /// `SERVICE_ACCOUNT`.
    pub service_account: String,
    /// `TRUST_DOMAIN`.
    pub trust_domain: String,
    /// `host:port` of the certificate authority (`CA_ADDR`, else the discovery address).
    pub ca_address: String,
    /// Service-account token, read anew for each request.
    pub token_path: PathBuf,
    /// Roots that the control plane is verified against, read anew when they change.
    pub root_path: PathBuf,
    /// Labels and annotations of the pod, one file each.
    pub podinfo: PathBuf,
    /// `PROXY_CONFIG`.
    pub proxy: ProxyConfig,
    /// `ISTIO_META_*` without the prefix.
    pub metadata: BTreeMap<String, String>,
    /// Life of certificates to ask for (`SECRET_TTL`).
    pub certificate_ttl: Duration,
    /// For how long a proxy that is told to end takes new connections (`MINIMUM_DRAIN_DURATION`): clients, gateways' load
    /// balancers and kube-proxy learn a little later than the proxy that its pod is no endpoint any more.
    pub minimum_drain: Duration,
    /// Probes of the application, as rewritten by the injector (`ISTIO_KUBE_APP_PROBERS`).
    pub app_probers: Option<String>,
    /// The application's own metrics (`ISTIO_PROMETHEUS_ANNOTATIONS`).
    pub prometheus: Option<String>,
}

/// The fields of Istio's `ProxyConfig` that the agent acts on; the others are the injector's and pilot's.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ProxyConfig {
    /// `host:port` of the control plane.
    pub discovery_address: String,
    /// Worker threads; 0 follows the CPU limit.
    pub concurrency: u32,
    /// Admin port on loopback.
    pub proxy_admin_port: u16,
    /// Port of [`super::status`].
    pub status_port: u16,
    /// Go duration: how long connections may finish when the proxy ends.
    pub termination_drain_duration: String,
    /// Go duration: how long connections of a removed listener may finish.
    pub drain_duration: String,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            discovery_address: "istiod.istio-system.svc:15012".to_owned(),
            concurrency: 0,
            proxy_admin_port: 15000,
            status_port: 15020,
            termination_drain_duration: "5s".to_owned(),
            drain_duration: "45s".to_owned(),
        }
    }
}

impl ProxyConfig {
    /// [`Self::termination_drain_duration`]; Istio's default if it is not a duration.
    pub fn termination_drain(&self) -> Duration {
        go_duration(&self.termination_drain_duration).unwrap_or(Duration::from_secs(5))
    }

    /// [`Self::drain_duration`]; Istio's default if it is not a duration.
    pub fn drain(&self) -> Duration {
        go_duration(&self.drain_duration).unwrap_or(Duration::from_secs(45))
    }
}

impl Settings {
    /// Whether connections to and from the application are redirected to the proxy.
    pub fn is_captured(&self) -> bool {
        let mode = self.metadata.get("INTERCEPTION_MODE");
        self.role == Role::Sidecar && mode.is_none_or(|mode| mode != "NONE")
    }

    /// From the environment of the process.
    pub fn from_env(role: Role) -> Result<Self, SettingsError> {
        Self::from_vars(role, std::env::vars())
    }

    /// From given variables.
    pub fn from_vars(
        role: Role,
        vars: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let vars: BTreeMap<String, String> = vars.into_iter().collect();
        let get = |name: &'static str| vars.get(name).filter(|value| !value.is_empty());
        let need = |name| get(name).cloned().ok_or(SettingsError::Missing(name));
        let or = |name, default: &str| get(name).cloned().unwrap_or_else(|| default.to_owned());
        let proxy = proxy_config(get("PROXY_CONFIG"))?;
        let metadata = vars.iter().filter_map(|(name, value)| {
            Some((name.strip_prefix("ISTIO_META_")?.to_owned(), value.clone()))
        });
        Ok(Self {
            role,
            pod_name: need("POD_NAME")?,
            namespace: need("POD_NAMESPACE")?,
            addresses: addresses(&need("INSTANCE_IP")?)?,
            service_account: or("SERVICE_ACCOUNT", "default"),
            trust_domain: or("TRUST_DOMAIN", "cluster.local"),
            ca_address: or("CA_ADDR", &proxy.discovery_address),
            token_path: or("WEFT_TOKEN_PATH", "/var/run/secrets/tokens/istio-token").into(),
            root_path: or(
                "WEFT_ROOT_CERT_PATH",
                "/var/run/secrets/istio/root-cert.pem",
            )
            .into(),
            podinfo: or("WEFT_PODINFO_DIR", "/etc/istio/pod").into(),
            metadata: metadata.collect(),
            certificate_ttl: duration("SECRET_TTL", get("SECRET_TTL"), CERTIFICATE_TTL)?,
            minimum_drain: duration(MINIMUM_DRAIN, get(MINIMUM_DRAIN), MINIMUM_DRAIN_DEFAULT)?,
            app_probers: get("ISTIO_KUBE_APP_PROBERS").cloned(),
            prometheus: get("ISTIO_PROMETHEUS_ANNOTATIONS").cloned(),
            proxy,
        })
    }

    /// The identity that citadel will certify.
    pub fn spiffe_id(&self) -> String {
        format!(
            "spiffe://{}/ns/{}/sa/{}",
            self.trust_domain, self.namespace, self.service_account
        )
    }
}

fn proxy_config(text: Option<&String>) -> Result<ProxyConfig, SettingsError> {
    let Some(text) = text else {
        return Ok(ProxyConfig::default());
    };
    serde_json::from_str(text).map_err(|error| SettingsError::Invalid {
        name: "PROXY_CONFIG",
        value: text.clone(),
        reason: error.to_string(),
    })
}

fn addresses(text: &str) -> Result<Vec<IpAddr>, SettingsError> {
    let parse = |part: &str| part.trim().parse::<IpAddr>();
    text.split(',')
        .map(parse)
        .collect::<Result<_, _>>()
        .map_err(|error| SettingsError::Invalid {
            name: "INSTANCE_IP",
            value: text.to_owned(),
            reason: error.to_string(),
        })
}

fn duration(
    name: &'static str,
    text: Option<&String>,
    default: Duration,
) -> Result<Duration, SettingsError> {
    let Some(text) = text else { return Ok(default) };
    go_duration(text).ok_or_else(|| SettingsError::Invalid {
        name,
        value: text.clone(),
        reason: "not a duration such as \"24h\"".to_owned(),
    })
}

/// A duration in Go's notation, e.g. `24h` or `1m30s`. The time library that Kubernetes' types use reads it.
fn go_duration(text: &str) -> Option<Duration> {
    let span: jiff::SignedDuration = text.parse().ok()?;
    span.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn vars(extra: &[(&str, &str)]) -> Vec<(String, String)> {
        let pod = [
            ("POD_NAME", "reviews-v1-abc"),
            ("POD_NAMESPACE", "default"),
            ("INSTANCE_IP", "10.244.0.7"),
        ];
        pod.iter()
            .chain(extra)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn defaults_are_istios() {
        let settings = Settings::from_vars(Role::Sidecar, vars(&[])).expect("complete");
        assert_eq!(settings.ca_address, "istiod.istio-system.svc:15012");
        assert_eq!(
            settings.spiffe_id(),
            "spiffe://cluster.local/ns/default/sa/default"
        );
        assert_eq!(settings.proxy.termination_drain(), Duration::from_secs(5));
        assert_eq!(settings.certificate_ttl, Duration::from_secs(86_400));
        assert_eq!(settings.minimum_drain, Duration::from_secs(5));
    }

    #[test]
    fn proxy_config_and_metadata_are_read() {
        let settings = Settings::from_vars(
            Role::Router,
            vars(&[
                ("PROXY_CONFIG", r#"{"discoveryAddress":"meshd:1","concurrency":2,"terminationDrainDuration":"1m30s"}"#),
                ("ISTIO_META_CLUSTER_ID", "east"),
                ("SECRET_TTL", "90s"),
                ("MINIMUM_DRAIN_DURATION", "2s"),
            ]),
        )
        .expect("complete");
        assert_eq!(settings.ca_address, "meshd:1");
        assert_eq!(settings.proxy.concurrency, 2);
        assert_eq!(settings.proxy.termination_drain(), Duration::from_secs(90));
        assert_eq!(settings.certificate_ttl, Duration::from_secs(90));
        assert_eq!(settings.minimum_drain, Duration::from_secs(2));
        assert_eq!(
            settings.metadata,
            BTreeMap::from([("CLUSTER_ID".to_owned(), "east".to_owned())])
        );
    }

    #[rstest]
    #[case(&[("INSTANCE_IP", "nowhere")], "environment variable INSTANCE_IP is \"nowhere\": invalid IP address syntax")]
    #[case(&[("POD_NAME", "")], "environment variable POD_NAME is not set")]
    #[case(&[("SECRET_TTL", "soon")], "environment variable SECRET_TTL is \"soon\": not a duration such as \"24h\"")]
    fn says_what_is_wrong(#[case] extra: &[(&str, &str)], #[case] expected: &str) {
        let error = Settings::from_vars(Role::Sidecar, vars(extra)).expect_err("not usable");
        assert_eq!(error.to_string(), expected);
    }
}
