//! A container's environment and arguments: literal values, the downward API, ConfigMaps and
//! Secrets, and `$(NAME)` references.

use std::{collections::BTreeMap, net::Ipv4Addr};

use k8s_openapi::api::core::v1::{
    Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod, ResourceFieldSelector,
};

use crate::network::ROUTER;

/// Reads ConfigMaps and Secrets of a namespace.
pub trait Data {
    /// The entries of a ConfigMap; `None` if it does not exist.
    fn config_map(&self, namespace: &str, name: &str) -> Option<BTreeMap<String, Vec<u8>>>;
    /// The entries of a Secret; `None` if it does not exist.
    fn secret(&self, namespace: &str, name: &str) -> Option<BTreeMap<String, Vec<u8>>>;
}

/// A reference that leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// A downward API path that is not known.
    #[error("field path \"{0}\" is not supported")]
    FieldPath(String),
    /// A resource that is not known.
    #[error("resource \"{0}\" is not supported")]
    Resource(String),
    /// A required ConfigMap or Secret, or key in it, is missing.
    #[error("{kind} \"{name}\" has no key \"{key}\"")]
    Missing {
        /// ConfigMap or Secret.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The key.
        key: String,
    },
}

/// The environment of `container`, in order of definition.
pub fn environment(
    pod: &Pod,
    container: &Container,
    data: &dyn Data,
) -> Result<Vec<(String, String)>, EnvError> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut found: Vec<(String, String)> = Vec::new();
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let config_map = source
            .config_map_ref
            .as_ref()
            .and_then(|r| data.config_map(namespace, &r.name));
        let secret = source
            .secret_ref
            .as_ref()
            .and_then(|r| data.secret(namespace, &r.name));
        for (key, value) in config_map.into_iter().chain(secret).flatten() {
            set(
                &mut found,
                format!("{prefix}{key}"),
                String::from_utf8_lossy(&value).into_owned(),
            );
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value_of(pod, container, variable, data, &found)? {
            set(&mut found, variable.name.clone(), value);
        }
    }
    Ok(found)
}

fn set(environment: &mut Vec<(String, String)>, name: String, value: String) {
    environment.retain(|(known, _)| *known != name);
    environment.push((name, value));
}

fn value_of(
    pod: &Pod,
    container: &Container,
    variable: &EnvVar,
    data: &dyn Data,
    known: &[(String, String)],
) -> Result<Option<String>, EnvError> {
    let Some(source) = &variable.value_from else {
        return Ok(Some(expand(
            variable.value.as_deref().unwrap_or_default(),
            known,
        )));
    };
    let EnvVarSource {
        field_ref,
        resource_field_ref,
        config_map_key_ref,
        secret_key_ref,
        ..
    } = source;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(selector) = field_ref {
        return field(pod, selector).map(Some);
    }
    if let Some(selector) = resource_field_ref {
        return resource(container, selector).map(Some);
    }
    let (kind, name, key, optional, entries) = if let Some(r) = config_map_key_ref {
        (
            "ConfigMap",
            &r.name,
            &r.key,
            r.optional,
            data.config_map(namespace, &r.name),
        )
    } else if let Some(r) = secret_key_ref {
        (
            "Secret",
            &r.name,
            &r.key,
            r.optional,
            data.secret(namespace, &r.name),
        )
    } else {
        return Ok(None);
    };
    match entries.and_then(|mut entries| entries.remove(key)) {
        Some(value) => Ok(Some(String::from_utf8_lossy(&value).into_owned())),
        None if optional == Some(true) => Ok(None),
        None => Err(EnvError::Missing {
            kind,
            name: name.clone(),
            key: key.clone(),
        }),
    }
}

/// The value of a downward API field.
pub fn field(pod: &Pod, selector: &ObjectFieldSelector) -> Result<String, EnvError> {
    let path = selector.field_path.as_str();
    let metadata = &pod.metadata;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    if let Some((map, key)) = keyed(path) {
        let map = match map {
            "metadata.labels" => &metadata.labels,
            "metadata.annotations" => &metadata.annotations,
            _ => return Err(EnvError::FieldPath(path.to_owned())),
        };
        return Ok(map
            .as_ref()
            .and_then(|map| map.get(key))
            .cloned()
            .unwrap_or_default());
    }
    let address = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
    Ok(match path {
        "metadata.name" => text(&metadata.name),
        "metadata.namespace" => text(&metadata.namespace),
        "metadata.uid" => text(&metadata.uid),
        "metadata.labels" => pairs(metadata.labels.as_ref()),
        "metadata.annotations" => pairs(metadata.annotations.as_ref()),
        "spec.nodeName" => text(&pod.spec.as_ref().and_then(|spec| spec.node_name.clone())),
        "spec.serviceAccountName" => text(
            &pod.spec
                .as_ref()
                .and_then(|spec| spec.service_account_name.clone()),
        ),
        "status.podIP" | "status.podIPs" => text(&address),
        "status.hostIP" | "status.hostIPs" => ROUTER.to_string(),
        _ => return Err(EnvError::FieldPath(path.to_owned())),
    })
}

/// `metadata.labels['app']` as map and key.
fn keyed(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

/// A map in the downward API's file format: one `key="value"` a line.
fn pairs(map: Option<&BTreeMap<String, String>>) -> String {
    let line = |(key, value): (&String, &String)| format!("{key}={value:?}");
    map.into_iter()
        .flatten()
        .map(line)
        .collect::<Vec<_>>()
        .join("\n")
}

/// The value of a resource field, rounded up to whole divisors.
pub fn resource(
    container: &Container,
    selector: &ResourceFieldSelector,
) -> Result<String, EnvError> {
    let unknown = || EnvError::Resource(selector.resource.clone());
    let (side, name) = selector.resource.split_once('.').ok_or_else(unknown)?;
    let resources = container.resources.as_ref();
    let stated = match side {
        "limits" => resources.and_then(|resources| resources.limits.as_ref()),
        "requests" => resources.and_then(|resources| resources.requests.as_ref()),
        _ => return Err(unknown()),
    };
    let machine = match name {
        "cpu" => std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64),
        "memory" | "ephemeral-storage" => 0.0,
        _ => return Err(unknown()),
    };
    let amount = stated
        .and_then(|map| map.get(name))
        .and_then(|quantity| parse_quantity(&quantity.0))
        .unwrap_or(machine);
    let divisor = selector
        .divisor
        .as_ref()
        .and_then(|quantity| parse_quantity(&quantity.0))
        .filter(|d| *d > 0.0);
    Ok(format!("{:.0}", (amount / divisor.unwrap_or(1.0)).ceil()))
}

/// A Kubernetes quantity as a number.
fn parse_quantity(text: &str) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 10] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("m", 0.001),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("", 1.0),
    ];
    SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| Some(text.strip_suffix(suffix)?.parse::<f64>().ok()? * factor))
}

/// Replaces `$(NAME)` by the variable's value; unknown names stay, `$$` is a single `$`.
pub fn expand(text: &str, environment: &[(String, String)]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let reference = rest
            .strip_prefix("$(")
            .and_then(|inner| inner.split_once(')'));
        if let Some(after) = rest.strip_prefix("$$") {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = reference {
            match environment.iter().find(|(known, _)| known == name) {
                Some((_, value)) => out.push_str(value),
                None => out.push_str(&rest[..rest.len() - after.len()]),
            }
            rest = after;
        } else {
            out.push('$');
            rest = &rest[1..];
        }
    }
    out + rest
}

/// The address that the downward API reports for a pod.
pub fn pod_address(pod: &Pod) -> Option<Ipv4Addr> {
    pod.status.as_ref()?.pod_ip.as_deref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    struct NoData;

    impl Data for NoData {
        fn config_map(&self, _: &str, name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
            (name == "c").then(|| [("k".to_owned(), b"v".to_vec())].into())
        }
        fn secret(&self, _: &str, _: &str) -> Option<BTreeMap<String, Vec<u8>>> {
            None
        }
    }

    fn pod(env: serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "labels": {"app": "web"}},
            "spec": {"serviceAccountName": "s", "containers": [{
                "name": "c", "env": env, "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}},
            }]},
            "status": {"podIP": "10.244.0.2"},
        }))
        .unwrap()
    }

    fn values(env: serde_json::Value) -> Result<Vec<(String, String)>, EnvError> {
        let pod = pod(env);
        environment(&pod, &pod.spec.as_ref().unwrap().containers[0], &NoData)
    }

    #[rstest]
    #[case(json!({"fieldRef": {"fieldPath": "metadata.name"}}), "p")]
    #[case(json!({"fieldRef": {"fieldPath": "metadata.labels['app']"}}), "web")]
    #[case(json!({"fieldRef": {"fieldPath": "status.podIP"}}), "10.244.0.2")]
    #[case(json!({"fieldRef": {"fieldPath": "status.hostIP"}}), "10.244.0.1")]
    #[case(json!({"resourceFieldRef": {"resource": "limits.cpu"}}), "2")]
    #[case(json!({"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}), "64")]
    #[case(json!({"configMapKeyRef": {"name": "c", "key": "k"}}), "v")]
    fn sources(#[case] source: serde_json::Value, #[case] expected: &str) {
        let found = values(json!([{"name": "X", "valueFrom": source}]));
        assert_eq!(found, Ok(vec![("X".into(), expected.into())]));
    }

    #[test]
    fn a_missing_key_is_an_error_unless_optional() {
        let reference = |optional| json!([{"name": "X", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": optional}}}]);
        assert_eq!(values(reference(true)), Ok(vec![]));
        let missing = EnvError::Missing {
            kind: "Secret",
            name: "s".into(),
            key: "k".into(),
        };
        assert_eq!(values(reference(false)), Err(missing));
    }

    #[rstest]
    #[case("$(A)-$(B)", "1-$(B)")]
    #[case("$$(A) $A $(A", "$(A) $A $(A")]
    fn references(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(expand(text, &[("A".into(), "1".into())]), expected);
    }
}
