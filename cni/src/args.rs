//! The agent's arguments; in a cluster they come from the chart as environment variables with Istio's names.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args as Group, Parser};
use mesh_runtime::log::Format;

use crate::install::Layout;
use crate::repair::{Action, Filter};

/// Sets up capture for the mesh's pods on a Kubernetes node.
#[derive(Clone, Debug, Parser)]
#[command(name = "weft-cni-agent", version)]
pub struct Args {
    /// The plugin in this image
    #[arg(long, env = "CNI_PLUGIN", default_value = "/usr/local/bin/weft-cni")]
    pub plugin: PathBuf,
    /// The node's directory of CNI programs
    #[arg(long, env = "CNI_BIN_DIR", default_value = "/host/opt/cni/bin")]
    pub bin_dir: PathBuf,
    /// The node's directory of network configurations
    #[arg(long, env = "CNI_CONF_DIR", default_value = "/host/etc/cni/net.d")]
    pub conf_dir: PathBuf,
    /// The network configuration to join; the first if empty
    #[arg(long, env = "CNI_CONF_NAME", default_value = "")]
    pub conf_name: String,
    /// The agent's directory on the node, which has the same path here
    #[arg(long, env = "CNI_AGENT_RUN_DIR", default_value = "/var/run/weft-cni")]
    pub run_dir: PathBuf,
    /// Namespaces whose pods are never captured
    #[arg(
        long,
        env = "EXCLUDE_NAMESPACES",
        value_delimiter = ',',
        default_value = "kube-system"
    )]
    pub exclude_namespaces: Vec<String>,
    /// The agent's own namespace
    #[arg(long, env = "POD_NAMESPACE", default_value = "istio-system")]
    pub namespace: String,
    /// The agent's own DaemonSet
    #[arg(long, env = "DAEMON_SET_NAME", default_value = "weft-cni-node")]
    pub daemon_set: String,
    /// The node that the agent runs on
    #[arg(long, env = "NODE_NAME")]
    pub node_name: String,
    /// What is done about pods that started without capture
    #[command(flatten)]
    pub repair: RepairArgs,
    /// Where readiness and metrics are served
    #[arg(long, env = "HTTP_ADDRESS", default_value = "[::]:15014")]
    pub http_address: SocketAddr,
    /// Log filter, such as info,kube=debug
    #[arg(long, env = "WEFT_LOG", default_value = mesh_runtime::log::DEFAULT_FILTER)]
    pub log: String,
    /// text or json
    #[arg(long, env = "WEFT_LOG_FORMAT", default_value_t)]
    pub log_format: Format,
}

/// Arguments about pods that started without capture.
#[derive(Clone, Debug, Group)]
pub struct RepairArgs {
    /// Whether such pods are looked for
    #[arg(long, env = "REPAIR_ENABLED", default_value_t = true, action = ArgAction::Set)]
    pub repair_enabled: bool,
    /// Apply the rules that are missing; before --repair-delete-pods and --repair-label-pods
    #[arg(long, env = "REPAIR_REPAIR_PODS", default_value_t = true, action = ArgAction::Set)]
    pub repair_pods: bool,
    /// Delete such pods; before --repair-label-pods
    #[arg(long, env = "REPAIR_DELETE_PODS", default_value_t = false, action = ArgAction::Set)]
    pub repair_delete_pods: bool,
    /// Label such pods
    #[arg(long, env = "REPAIR_LABEL_PODS", default_value_t = false, action = ArgAction::Set)]
    pub repair_label_pods: bool,
    /// The key of the label
    #[arg(
        long,
        env = "REPAIR_BROKEN_POD_LABEL_KEY",
        default_value = "cni.istio.io/uninitialized"
    )]
    pub repair_label_key: String,
    /// The value of the label
    #[arg(long, env = "REPAIR_BROKEN_POD_LABEL_VALUE", default_value = "true")]
    pub repair_label_value: String,
    /// The init container that fails in such pods
    #[arg(
        long,
        env = "REPAIR_INIT_CONTAINER_NAME",
        default_value = "istio-validation"
    )]
    pub repair_init_container: String,
    /// Its exit code
    #[arg(
        long,
        env = "REPAIR_INIT_CONTAINER_EXIT_CODE",
        default_value_t = i32::from(redirect::validate::NOT_CAPTURED)
    )]
    pub repair_exit_code: i32,
    /// Where the container runtime keeps network namespaces
    #[arg(long, env = "CNI_NETNS_DIR", default_value = "/host/var/run/netns")]
    pub netns_dir: PathBuf,
}

impl Args {
    /// Where things are.
    pub fn layout(&self) -> Layout {
        Layout {
            program: self.plugin.clone(),
            bin_dir: self.bin_dir.clone(),
            conf_dir: self.conf_dir.clone(),
            conf_name: (!self.conf_name.is_empty()).then(|| self.conf_name.clone()),
        }
    }

    /// Where plugins ask.
    pub fn socket(&self) -> PathBuf {
        self.run_dir.join("agent.sock")
    }
}

impl RepairArgs {
    /// What is done, if anything. More than one choice means the first, as in Istio.
    pub fn action(&self) -> Option<Action> {
        if !self.repair_enabled {
            return None;
        }
        if self.repair_pods {
            return Some(Action::Repair {
                namespaces: self.netns_dir.clone(),
            });
        }
        if self.repair_delete_pods {
            return Some(Action::Delete);
        }
        self.repair_label_pods.then(|| Action::Label {
            key: self.repair_label_key.clone(),
            value: self.repair_label_value.clone(),
        })
    }

    /// How such pods are known.
    pub fn filter(&self) -> Filter {
        Filter {
            init_container: self.repair_init_container.clone(),
            exit_code: self.repair_exit_code,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(flags: &[&str]) -> Option<Action> {
        let name = ["weft-cni-agent", "--node-name=a"];
        let args = Args::try_parse_from(name.iter().chain(flags)).unwrap();
        args.repair.action()
    }

    #[test]
    fn one_repair_is_chosen() {
        let repair = Action::Repair {
            namespaces: "/host/var/run/netns".into(),
        };
        assert_eq!(action(&[]), Some(repair.clone()));
        assert_eq!(action(&["--repair-delete-pods=true"]), Some(repair));
        let not = "--repair-pods=false";
        assert_eq!(action(&[not]), None);
        let delete = "--repair-delete-pods=true";
        let label = "--repair-label-pods=true";
        assert_eq!(action(&[not, delete, label]), Some(Action::Delete));
        let labelled = Action::Label {
            key: "cni.istio.io/uninitialized".to_owned(),
            value: "true".to_owned(),
        };
        assert_eq!(action(&[not, label]), Some(labelled));
        assert_eq!(action(&["--repair-enabled=false", delete]), None);
    }
}
