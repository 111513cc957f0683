//! The injector's settings: those that the control plane of a cluster has, or those of files.
//!
//! Both go through the same steps as in the control plane, so that the result is the webhook's.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use injector::{
    InjectorConfig,
    values::{self, Values},
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use serde_json::Value;

use crate::{cluster::kubernetes::KubernetesCluster, mesh_config};

/// The first minor version of Kubernetes 1 that knows native sidecars.
const NATIVE_SIDECARS: u32 = 29;

/// The settings of a control plane.
pub(super) async fn of_cluster(
    cluster: &KubernetesCluster,
    revision: &str,
) -> Result<InjectorConfig> {
    let name = |base: &str| match revision {
        "" => base.to_owned(),
        revision => format!("{base}-{revision}"),
    };
    let api: Api<ConfigMap> = Api::namespaced(cluster.client().clone(), cluster.namespace());
    let mesh = data(api.get_opt(&name("istio")).await?);
    let injector = data(api.get(&name("istio-sidecar-injector")).await.map(Some)?);
    let text = |key| injector.get(key).map(String::as_str);
    let values = Values::parse(text(values::VALUES), text(values::CONFIG))?;
    let mesh = mesh.get(mesh_config::KEY).map_or("", String::as_str);
    let mesh = mesh_config::read(mesh, "meshConfig", cluster.namespace())?;
    let mut config = InjectorConfig::of_mesh(&mesh);
    if !revision.is_empty() {
        config.revision = revision.to_owned();
    }
    values.apply(&mut config);
    config.native_sidecar = match values.native_sidecars() {
        Some(choice) => choice,
        None => knows_native_sidecars(cluster).await?,
    };
    Ok(config)
}

/// The settings of files, each of which may be left out.
pub(super) fn of_files(mesh: Option<&Path>, values: Option<&Path>) -> Result<InjectorConfig> {
    let read = |path: &Path| {
        fs::read_to_string(path).with_context(|| format!("cannot read \"{}\"", path.display()))
    };
    let mut config = match mesh {
        Some(path) => {
            let mesh = mesh_config::read(&read(path)?, "MeshConfig", "istio-system");
            let unfit = || format!("\"{}\" is no mesh configuration", path.display());
            InjectorConfig::of_mesh(&mesh.with_context(unfit)?)
        }
        None => InjectorConfig::default(),
    };
    if let Some(path) = values {
        let values: Value = serde_saphyr::from_str(&read(path)?)
            .with_context(|| format!("\"{}\" is not YAML", path.display()))?;
        let values = Values::parse(Some(&values.to_string()), None)?;
        values.apply(&mut config);
        config.native_sidecar = values.native_sidecars().unwrap_or(config.native_sidecar);
    }
    Ok(config)
}

fn data(config_map: Option<ConfigMap>) -> std::collections::BTreeMap<String, String> {
    config_map
        .and_then(|config_map| config_map.data)
        .unwrap_or_default()
}

async fn knows_native_sidecars(cluster: &KubernetesCluster) -> Result<bool> {
    let version = cluster.client().apiserver_version().await?;
    let digits = |text: &str| {
        text.trim_end_matches(|c: char| !c.is_ascii_digit())
            .parse::<u32>()
    };
    let minor = digits(&version.minor).unwrap_or_default();
    Ok(digits(&version.major).is_ok_and(|major| major > 1) || minor >= NATIVE_SIDECARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_say_what_a_cluster_would() {
        let dir = tempfile::tempdir().unwrap();
        let mesh = dir.path().join("mesh.yaml");
        fs::write(&mesh, "trustDomain: example.org\n").unwrap();
        let values = dir.path().join("values.yaml");
        let text = "global: {hub: registry.test, tag: 1, proxy: {image: proxy}}\n";
        fs::write(&values, text).unwrap();
        let config = of_files(Some(&mesh), Some(&values)).unwrap();
        assert_eq!(config.trust_domain, "example.org");
        assert_eq!(config.image, "registry.test/proxy:1");
    }

    #[test]
    fn a_file_that_the_control_plane_would_refuse_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mesh = dir.path().join("mesh.yaml");
        fs::write(&mesh, "trustDomian: example.org\n").unwrap();
        let error = of_files(Some(&mesh), None).unwrap_err();
        let expected = "is no mesh configuration: MeshConfig.trustDomian: unknown field \"trustDomian\" (did you mean \
                        \"trustDomain\"?)";
        let said = format!("{error:#}");
        assert!(said.ends_with(expected), "{said}");
    }
}
