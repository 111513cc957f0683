//! The part of the command line that is about a Kubernetes cluster.

use std::path::PathBuf;

use clap::ValueEnum;

/// What a control plane in a cluster must know. Names follow Istio's: those of a revision other than
/// `default` end with its name.
#[derive(Clone, Debug, clap::Args)]
pub struct KubernetesArgs {
    /// Serve a Kubernetes cluster: configuration, CA and tokens come through its API server
    #[arg(long, conflicts_with_all = ["config_dir", "ca_dir", "jwks_file", "publish_root"])]
    pub kubernetes: bool,

    /// How to reach the API server, instead of the pod's service account
    #[arg(long, value_name = "FILE", requires = "kubernetes")]
    pub kubeconfig: Option<PathBuf>,

    /// Namespace of the control plane
    #[arg(
        long,
        value_name = "NAME",
        env = "POD_NAMESPACE",
        default_value = "istio-system"
    )]
    pub namespace: String,

    /// Name of this replica, for leader election
    #[arg(long, value_name = "NAME", env = "POD_NAME", default_value = "meshd")]
    pub pod_name: String,

    /// Revision of this control plane
    #[arg(long, value_name = "NAME", env = "REVISION", default_value = "default", value_parser = revision)]
    pub revision: String,

    /// ConfigMap of the mesh configuration, `istio` if not given
    #[arg(long, value_name = "NAME")]
    pub mesh_config_map: Option<String>,

    /// ConfigMap of the injector's values, `istio-sidecar-injector` if not given
    #[arg(long, value_name = "NAME")]
    pub injector_config_map: Option<String>,

    /// Service of the control plane, `istiod` if not given
    #[arg(long, value_name = "NAME")]
    pub service_name: Option<String>,

    /// Whether proxies are init containers that keep running; auto: from Kubernetes 1.29 on
    #[arg(
        long,
        value_enum,
        env = "ENABLE_NATIVE_SIDECARS",
        default_value = "auto"
    )]
    pub native_sidecars: NativeSidecars,
}

/// The form of injected proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NativeSidecars {
    /// As the API server's version allows.
    Auto,
    /// Init containers that keep running.
    True,
    /// Ordinary containers.
    False,
}

impl KubernetesArgs {
    /// The ConfigMap of the mesh configuration.
    pub fn mesh_config_map(&self) -> String {
        self.or_of_revision(self.mesh_config_map.as_ref(), "istio")
    }

    /// The ConfigMap of the injector's values.
    pub fn injector_config_map(&self) -> String {
        self.or_of_revision(self.injector_config_map.as_ref(), "istio-sidecar-injector")
    }

    /// The Service of the control plane.
    pub fn service_name(&self) -> String {
        self.or_of_revision(self.service_name.as_ref(), "istiod")
    }

    /// The names under which the Service is reached.
    pub fn service_dns_names(&self) -> Vec<String> {
        let (service, namespace) = (self.service_name(), &self.namespace);
        ["svc", "svc.cluster.local"]
            .map(|suffix| format!("{service}.{namespace}.{suffix}"))
            .to_vec()
    }

    fn or_of_revision(&self, given: Option<&String>, base: &str) -> String {
        match (given, self.revision.as_str()) {
            (Some(given), _) => given.clone(),
            (None, "default") => base.to_owned(),
            (None, revision) => format!("{base}-{revision}"),
        }
    }
}

/// A revision is part of object names and the value of a label; charts leave it empty for `default`.
fn revision(text: &str) -> Result<String, String> {
    let is_name = text.len() <= 56
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-');
    match text {
        "" => Ok("default".to_owned()),
        _ if is_name => Ok(text.to_owned()),
        _ => Err("a revision is a DNS label: lower-case letters, digits and '-'".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Args;

    fn parse(more: &[&str]) -> Result<KubernetesArgs, clap::Error> {
        let base = ["meshd", "--kubernetes"];
        Args::try_parse_from(base.iter().chain(more)).map(|args| args.cluster)
    }

    #[test]
    fn names_follow_the_revision() {
        let names = |more: &[&str]| {
            let args = parse(more).unwrap();
            [
                args.mesh_config_map(),
                args.injector_config_map(),
                args.service_name(),
            ]
        };
        assert_eq!(
            names(&["--revision", ""]),
            ["istio", "istio-sidecar-injector", "istiod"]
        );
        assert_eq!(
            names(&["--revision", "v2"]),
            ["istio-v2", "istio-sidecar-injector-v2", "istiod-v2"]
        );
        let own = names(&["--revision", "v2", "--service-name", "pilot"]);
        assert_eq!(own[2], "pilot");
        assert!(parse(&["--revision", "V2"]).is_err());
        assert!(parse(&["--revision", "v2-"]).is_err());
    }

    #[test]
    fn native_sidecars_are_a_choice_of_three() {
        let choice = |value| parse(&["--native-sidecars", value]).map(|args| args.native_sidecars);
        assert_eq!(choice("true").unwrap(), NativeSidecars::True);
        assert_eq!(choice("auto").unwrap(), NativeSidecars::Auto);
        assert!(choice("maybe").is_err());
    }
}
