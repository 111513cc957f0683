//! What a template of an operator sees, under the names that Istio's injector gives it: Go's names of the fields of
//! pods and of the mesh configuration, and the chart's values as they are written.

use gotmpl::TemplateError;
use serde_json::{Map, Value, json};

use super::super::Subject;
use super::super::{container, init};
use crate::config::PROXY_UID;

/// Names that Go writes in another way than with a capital first letter.
const GO_NAMES: [(&str, &str); 22] = [
    ("apiVersion", "APIVersion"),
    ("cephfs", "CephFS"),
    ("csi", "CSI"),
    ("dnsConfig", "DNSConfig"),
    ("dnsPolicy", "DNSPolicy"),
    ("fc", "FC"),
    ("fsGroup", "FSGroup"),
    ("fsGroupChangePolicy", "FSGroupChangePolicy"),
    ("fsType", "FSType"),
    ("gmsaCredentialSpec", "GMSACredentialSpec"),
    ("gmsaCredentialSpecName", "GMSACredentialSpecName"),
    ("grpc", "GRPC"),
    ("httpGet", "HTTPGet"),
    ("httpHeaders", "HTTPHeaders"),
    ("ip", "IP"),
    ("iscsi", "ISCSI"),
    ("nfs", "NFS"),
    ("rbd", "RBD"),
    ("seLinuxOptions", "SELinuxOptions"),
    ("tcpSocket", "TCPSocket"),
    ("tty", "TTY"),
    ("uid", "UID"),
];

/// Fields whose keys are the user's, not names of fields.
const MAPS: [&str; 8] = [
    "annotations",
    "labels",
    "limits",
    "matchLabels",
    "nodeSelector",
    "overhead",
    "proxyMetadata",
    "requests",
];

/// Go's zero values of what templates go over, or print, without asking whether it is there.
const ZERO: [(&str, &[(&str, Zero)]); 3] = [
    (
        "ObjectMeta",
        &[
            ("Name", Zero::Text),
            ("GenerateName", Zero::Text),
            ("Labels", Zero::Map),
            ("Annotations", Zero::Map),
        ],
    ),
    (
        "Spec",
        &[
            ("Containers", Zero::List),
            ("InitContainers", Zero::List),
            ("Volumes", Zero::List),
            ("ImagePullSecrets", Zero::List),
            ("Tolerations", Zero::List),
            ("NodeSelector", Zero::Map),
            ("ServiceAccountName", Zero::Text),
        ],
    ),
    (
        "ProxyConfig",
        &[
            ("ProxyMetadata", Zero::Map),
            ("DiscoveryAddress", Zero::Text),
        ],
    ),
];

/// The same of every container.
const ZERO_OF_CONTAINER: [(&str, Zero); 6] = [
    ("Image", Zero::Text),
    ("Command", Zero::List),
    ("Args", Zero::List),
    ("Ports", Zero::List),
    ("Env", Zero::List),
    ("VolumeMounts", Zero::List),
];

#[derive(Clone, Copy)]
enum Zero {
    Text,
    List,
    Map,
}

impl Zero {
    fn value(self) -> Value {
        match self {
            Self::Text => json!(""),
            Self::List => json!([]),
            Self::Map => json!({}),
        }
    }
}

/// The template's `.`, of what Istio calls `SidecarTemplateData`.
pub(super) fn of(subject: &Subject<'_>) -> Result<gotmpl::Value, TemplateError> {
    let Subject {
        pod,
        namespace,
        workload,
        annotations,
        config,
    } = subject;
    let mut data = json!({
        "TypeMeta": {"Kind": "Pod", "APIVersion": "v1"},
        "DeploymentMeta": {"Name": workload.name, "Namespace": namespace},
        "ObjectMeta": go(&pod["metadata"]),
        "Spec": go(&pod["spec"]),
        "ProxyConfig": go(&annotations.proxy_config),
        "MeshConfig": {
            "TrustDomain": config.trust_domain,
            "RootNamespace": config.root_namespace,
            "DefaultConfig": go(&config.proxy_config),
        },
        "Values": *config.values,
        "Revision": config.revision,
        "NativeSidecars": annotations.native_sidecar,
        "ProxyImage": container::image(subject),
        "ProxyInitImage": init::image(subject),
        "ProxyUID": PROXY_UID,
        "ProxyGID": PROXY_UID,
    });
    for (part, fields) in ZERO {
        fill(&mut data[part], fields);
    }
    data["ObjectMeta"]["Namespace"] = (*namespace).into();
    for list in ["Containers", "InitContainers"] {
        let containers = data["Spec"][list].as_array_mut();
        for container in containers.into_iter().flatten() {
            fill(container, &ZERO_OF_CONTAINER);
        }
    }
    gotmpl::to_value(&data)
}

fn fill(value: &mut Value, fields: &[(&str, Zero)]) {
    if !value.is_object() {
        *value = json!({});
    }
    for (field, zero) in fields {
        if value[*field].is_null() {
            value[*field] = zero.value();
        }
    }
}

/// The same under Go's names.
fn go(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let named = map.iter().map(|(key, value)| {
                let value = match MAPS.contains(&key.as_str()) {
                    true => value.clone(),
                    false => go(value),
                };
                (go_name(key), value)
            });
            Value::Object(named.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(go).collect(),
        value => value.clone(),
    }
}

fn go_name(name: &str) -> String {
    if let Some((_, other)) = GO_NAMES.iter().find(|(plain, _)| *plain == name) {
        return (*other).to_owned();
    }
    let mut letters = name.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_gos_names_and_keys_of_users_their_own() {
        let found = go(&json!({
            "dnsPolicy": "None",
            "hostPID": true,
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "containers": [{"name": "a", "readinessProbe": {"httpGet": {"port": 80}}}],
        }));
        let expected = json!({
            "DNSPolicy": "None",
            "HostPID": true,
            "NodeSelector": {"kubernetes.io/os": "linux"},
            "Containers": [{"Name": "a", "ReadinessProbe": {"HTTPGet": {"Port": 80}}}],
        });
        assert_eq!(found, expected);
    }
}
