//! The part of a pod that becomes names and paths.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{
    Container, DownwardAPIVolumeFile, KeyToPath, PodSpec, PodTemplateSpec, ProjectedVolumeSource,
    Volume, VolumeMount,
};

use super::{Field, Problems, name};

/// Checks the pods of a workload.
pub(super) fn template(template: &PodTemplateSpec, at: &Field, problems: &mut Problems) {
    let spec = template.spec.clone().unwrap_or_default();
    self::spec(&spec, &at.key("spec"), problems);
}

/// Checks a pod.
pub(super) fn spec(spec: &PodSpec, at: &Field, problems: &mut Problems) {
    for (key, value) in [("hostname", &spec.hostname), ("subdomain", &spec.subdomain)] {
        if let Some(value) = value {
            problems.check(at.key(key), name::dns_label(value));
        }
    }
    let account = spec.service_account_name.as_deref().unwrap_or_default();
    if !account.is_empty() {
        let field = at.key("serviceAccountName");
        problems.check(field, name::dns_subdomain(account));
    }
    containers(spec, at, problems);
    let mut names = HashSet::new();
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        let field = at.key("volumes").index(index);
        let named = unique(&volume.name, &mut names, "volume");
        problems.check(field.key("name"), named);
        self::volume(volume, &field, problems);
    }
}

/// Containers of all three kinds share one set of names.
fn containers(spec: &PodSpec, at: &Field, problems: &mut Problems) {
    let mut names = HashSet::new();
    let groups = [
        ("initContainers", spec.init_containers.as_deref()),
        ("containers", Some(spec.containers.as_slice())),
    ];
    for (key, containers) in groups {
        for (index, container) in containers.into_iter().flatten().enumerate() {
            let field = at.key(key).index(index);
            let named = unique(&container.name, &mut names, "container");
            problems.check(field.key("name"), named);
            self::container(container, &field, problems);
        }
    }
    let ephemeral = spec.ephemeral_containers.iter().flatten().enumerate();
    for (index, container) in ephemeral {
        let field = at.key("ephemeralContainers").index(index).key("name");
        problems.check(field, unique(&container.name, &mut names, "container"));
    }
}

fn unique<'a>(
    name: &'a str,
    names: &mut HashSet<&'a str>,
    what: &'static str,
) -> Result<(), String> {
    name::dns_label(name)?;
    match names.insert(name) {
        true => Ok(()),
        false => Err(format!(
            "another {what} of the pod has the name {name:?}: write one of its own"
        )),
    }
}

fn container(container: &Container, at: &Field, problems: &mut Problems) {
    if let Some(dir) = container.working_dir.as_deref().filter(|d| !d.is_empty()) {
        problems.check(at.key("workingDir"), name::absolute_path(dir));
    }
    let mounts = container.volume_mounts.iter().flatten().enumerate();
    for (index, mount) in mounts {
        self::mount(mount, &at.key("volumeMounts").index(index), problems);
    }
}

fn mount(mount: &VolumeMount, at: &Field, problems: &mut Problems) {
    problems.check(at.key("name"), name::dns_label(&mount.name));
    let path = name::mount_path(&mount.mount_path);
    problems.check(at.key("mountPath"), path);
    let (sub_path, expression) = (&mount.sub_path, &mount.sub_path_expr);
    if let Some(path) = sub_path {
        problems.check(at.key("subPath"), name::path_inside(path));
    }
    if let Some(expression) = expression {
        let checked = match sub_path {
            Some(_) => Err("\"subPath\" is there as well: write only one of them".to_owned()),
            // Checked again once variables are replaced.
            None => name::path_inside(expression),
        };
        problems.check(at.key("subPathExpr"), checked);
    }
}

fn volume(volume: &Volume, at: &Field, problems: &mut Problems) {
    if let Some(source) = &volume.config_map {
        let at = at.key("configMap");
        mode(source.default_mode, &at.key("defaultMode"), problems);
        items(source.items.as_deref(), &at, problems);
    }
    if let Some(source) = &volume.secret {
        let at = at.key("secret");
        mode(source.default_mode, &at.key("defaultMode"), problems);
        items(source.items.as_deref(), &at, problems);
    }
    if let Some(source) = &volume.downward_api {
        let at = at.key("downwardAPI");
        mode(source.default_mode, &at.key("defaultMode"), problems);
        files(source.items.as_deref(), &at, problems);
    }
    if let Some(source) = &volume.projected {
        projected(source, &at.key("projected"), problems);
    }
}

fn projected(projected: &ProjectedVolumeSource, at: &Field, problems: &mut Problems) {
    mode(projected.default_mode, &at.key("defaultMode"), problems);
    let sources = projected.sources.iter().flatten().enumerate();
    for (index, source) in sources {
        let at = at.key("sources").index(index);
        if let Some(map) = &source.config_map {
            items(map.items.as_deref(), &at.key("configMap"), problems);
        }
        if let Some(secret) = &source.secret {
            items(secret.items.as_deref(), &at.key("secret"), problems);
        }
        if let Some(api) = &source.downward_api {
            files(api.items.as_deref(), &at.key("downwardAPI"), problems);
        }
        if let Some(token) = &source.service_account_token {
            let at = at.key("serviceAccountToken");
            problems.check(at.key("path"), name::file_inside(&token.path));
            if let Some(seconds) = token.expiration_seconds {
                let field = at.key("expirationSeconds");
                problems.check(field, name::token_lifetime(seconds));
            }
        }
        if let Some(bundle) = &source.cluster_trust_bundle {
            let field = at.key("clusterTrustBundle").key("path");
            problems.check(field, name::file_inside(&bundle.path));
        }
    }
}

fn items(items: Option<&[KeyToPath]>, at: &Field, problems: &mut Problems) {
    for (index, item) in items.into_iter().flatten().enumerate() {
        let at = at.key("items").index(index);
        problems.check(at.key("path"), name::file_inside(&item.path));
        mode(item.mode, &at.key("mode"), problems);
    }
}

fn files(items: Option<&[DownwardAPIVolumeFile]>, at: &Field, problems: &mut Problems) {
    for (index, item) in items.into_iter().flatten().enumerate() {
        let at = at.key("items").index(index);
        problems.check(at.key("path"), name::file_inside(&item.path));
        mode(item.mode, &at.key("mode"), problems);
    }
}

fn mode(mode: Option<i32>, at: &Field, problems: &mut Problems) {
    if let Some(mode) = mode {
        problems.check(at.clone(), name::file_mode(mode));
    }
}
