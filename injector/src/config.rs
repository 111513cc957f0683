//! What the operator decides about injection; what a pod's author decides is in [`crate::annotations`].

mod mesh;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::policy::Selector;
use crate::template::custom::Templates;

/// Settings of the injector. The defaults are Istio's.
#[derive(Clone, Debug, PartialEq)]
pub struct InjectorConfig {
    /// Image of proxy and init container; a pod may name another by annotation.
    pub image: String,
    /// Image of the init container, if it is another.
    pub init_image: Option<String>,
    /// `imagePullPolicy` of both, left to Kubernetes if absent.
    pub image_pull_policy: Option<String>,
    /// Secrets to pull the image with.
    pub image_pull_secrets: Vec<String>,
    /// The revision of this control plane, `default` if there is only one.
    pub revision: String,
    /// Where proxies find their certificate authority.
    pub ca_address: String,
    /// The namespace of the control plane's own objects.
    pub root_namespace: String,
    /// The trust domain of the mesh.
    pub trust_domain: String,
    /// The id of the mesh; the trust domain if absent.
    pub mesh_id: Option<String>,
    /// The cluster's DNS suffix.
    pub cluster_domain: String,
    /// The name of the cluster.
    pub cluster_id: String,
    /// The network of the cluster's pods, if there are several.
    pub network: Option<String>,
    /// The mesh's ProxyConfig as JSON; a pod's annotation is merged over it.
    pub proxy_config: Value,
    /// Resources of the proxy's container.
    pub resources: Value,
    /// Log filter of the proxy.
    pub log_level: String,
    /// Whether a namespace that says nothing is injected.
    pub inject_by_default: bool,
    /// Whether a pod that says nothing is injected where its namespace is.
    pub inject_unasked: bool,
    /// Pods that are not injected unless they ask.
    pub never_inject: Vec<Selector>,
    /// Pods that are injected unless they decline, though [`inject_unasked`](Self::inject_unasked) is off.
    pub always_inject: Vec<Selector>,
    /// Annotations that every injected pod gets.
    pub injected_annotations: BTreeMap<String, String>,
    /// Whether the proxy is an init container that keeps running (Kubernetes 1.29 and later).
    pub native_sidecar: bool,
    /// Whether application containers wait for the proxy.
    pub hold_application_until_proxy_starts: bool,
    /// The kubelet's checks of the proxy.
    pub probes: ProxyProbes,
    /// `seccompProfile` of what is injected, the pod's if absent.
    pub seccomp_profile: Option<Value>,
    /// `lifecycle` of the proxy's container, instead of ours.
    pub lifecycle: Option<Value>,
    /// Whether probes are sent through the proxy.
    pub rewrite_probes: bool,
    /// Whether the application's metrics are merged into the proxy's.
    pub merge_prometheus: bool,
    /// Whether capture is set up by a CNI plugin, so that no init container needs privileges.
    pub cni: bool,
    /// Capture of outbound traffic by address.
    pub include_outbound_ip_ranges: String,
    /// Exemption from it.
    pub exclude_outbound_ip_ranges: String,
    /// Capture of inbound traffic by port.
    pub include_inbound_ports: String,
    /// Exemption from it.
    pub exclude_inbound_ports: String,
    /// Capture of outbound traffic by port, whatever the address.
    pub include_outbound_ports: String,
    /// Exemption from it.
    pub exclude_outbound_ports: String,
    /// The operator's own templates, and which of all a pod gets that does not ask.
    pub templates: Arc<Templates>,
    /// The chart's values, for templates.
    pub values: Arc<Value>,
}

impl Default for InjectorConfig {
    fn default() -> Self {
        Self {
            image: format!("weft/proxy:{}", mesh_runtime::build_info::VERSION),
            init_image: None,
            image_pull_policy: None,
            image_pull_secrets: Vec::new(),
            revision: "default".to_owned(),
            ca_address: "istiod.istio-system.svc:15012".to_owned(),
            root_namespace: "istio-system".to_owned(),
            trust_domain: "cluster.local".to_owned(),
            mesh_id: None,
            cluster_domain: "cluster.local".to_owned(),
            cluster_id: "Kubernetes".to_owned(),
            network: None,
            proxy_config: json!({}),
            resources: json!({
                "requests": {"cpu": "100m", "memory": "128Mi"},
                "limits": {"cpu": "2", "memory": "1Gi"},
            }),
            log_level: "warn".to_owned(),
            inject_by_default: false,
            inject_unasked: true,
            never_inject: Vec::new(),
            always_inject: Vec::new(),
            injected_annotations: BTreeMap::new(),
            native_sidecar: false,
            hold_application_until_proxy_starts: false,
            probes: ProxyProbes::default(),
            seccomp_profile: None,
            lifecycle: None,
            rewrite_probes: true,
            merge_prometheus: true,
            cni: false,
            include_outbound_ip_ranges: "*".to_owned(),
            exclude_outbound_ip_ranges: String::new(),
            include_inbound_ports: "*".to_owned(),
            exclude_inbound_ports: String::new(),
            include_outbound_ports: String::new(),
            exclude_outbound_ports: String::new(),
            templates: Arc::default(),
            values: Arc::new(json!({})),
        }
    }
}

/// How the kubelet checks the proxy, in seconds and tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyProbes {
    /// Whether there is a startup probe.
    pub startup: bool,
    /// Its tries, one a second.
    pub startup_failures: u32,
    /// Seconds before the first readiness probe.
    pub readiness_initial_delay: u32,
    /// Seconds between readiness probes.
    pub readiness_period: u32,
    /// Failed tries after which the pod is not ready.
    pub readiness_failures: u32,
}

impl Default for ProxyProbes {
    fn default() -> Self {
        Self {
            startup: true,
            startup_failures: 600,
            readiness_initial_delay: 0,
            readiness_period: 15,
            readiness_failures: 4,
        }
    }
}

/// The proxy's status port: health of the applications, merged metrics.
pub const STATUS_PORT: u16 = 15020;

/// The name of the proxy's container.
pub const PROXY_CONTAINER: &str = "istio-proxy";

/// The name of the init container that sets up traffic capture, where there is no CNI plugin.
pub const INIT_CONTAINER: &str = "istio-init";

/// The name of the init container that checks capture where a CNI plugin sets it up.
pub const VALIDATION_CONTAINER: &str = "istio-validation";

/// The user and group of the proxy, whose own traffic is not captured.
pub const PROXY_UID: u32 = 1337;
