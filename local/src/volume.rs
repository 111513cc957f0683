//! Pod volumes as directories in memory: ConfigMaps, Secrets, tokens, pod information, scratch space.
//!
//! Each volume is a directory that is bound at its mount paths. Files are replaced by renaming inside
//! that directory, so a refreshed token or changed ConfigMap shows up in the running pod.

use std::{
    collections::{BTreeMap, HashMap},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use k8s_openapi::api::core::v1::{
    Container, DownwardAPIVolumeFile, KeyToPath, Pod, ProjectedVolumeSource,
    ServiceAccountTokenProjection, Volume,
};

use crate::{
    env::{self, Data, EnvError},
    rootfs::Bind,
    token::{Subject, TokenError, TokenSigner},
};

/// Lifetime of a token whose volume does not say.
const TOKEN_LIFETIME_DEFAULT: Duration = Duration::from_secs(3600);

/// A volume cannot be provided.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// A ConfigMap or Secret is not there (yet).
    #[error("{kind} \"{name}\" does not exist")]
    Missing {
        /// ConfigMap or Secret.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A kind of volume that local pods do not have.
    #[error("volume \"{0}\" is of a kind that local pods do not have")]
    Unsupported(String),
    /// A mount names no volume.
    #[error("container \"{container}\" mounts volume \"{volume}\", which the pod does not have")]
    Unknown {
        /// The container.
        container: String,
        /// The volume.
        volume: String,
    },
    /// Two volumes at one path.
    #[error("two volumes are mounted at \"{}\"", .0.display())]
    Conflict(PathBuf),
    /// A downward API field.
    #[error(transparent)]
    Field(#[from] EnvError),
    /// A token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A file.
    #[error("cannot write \"{}\"", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Content of one volume: relative path to file.
type Files = BTreeMap<String, File>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    content: Vec<u8>,
    mode: u32,
}

/// What the content of volumes comes from.
#[derive(Clone, Copy)]
struct Sources<'a> {
    data: &'a dyn Data,
    signer: &'a TokenSigner,
    now: SystemTime,
}

/// The volumes of one pod.
pub struct Volumes {
    dir: PathBuf,
    /// May mount paths of the machine; only for pods that the mesh itself starts.
    system: bool,
    /// Whether files can be given to other users.
    chown: bool,
    written: HashMap<(String, String), File>,
    tokens: HashMap<(String, String), (SystemTime, String)>,
}

impl Volumes {
    /// Volumes below `dir`, on a file system in memory.
    pub fn new(dir: PathBuf, system: bool, chown: bool) -> Self {
        Self {
            dir,
            system,
            chown,
            written: HashMap::new(),
            tokens: HashMap::new(),
        }
    }

    /// Writes what changed since the last call.
    pub fn refresh(
        &mut self,
        pod: &Pod,
        data: &dyn Data,
        signer: &TokenSigner,
        now: SystemTime,
    ) -> Result<(), VolumeError> {
        let sources = Sources { data, signer, now };
        for volume in volumes(pod) {
            let files = self.files(pod, volume, sources)?;
            let dir = self.dir.join(&volume.name);
            if !dir.exists() {
                let mode = if volume.empty_dir.is_some() || volume.persistent_volume_claim.is_some()
                {
                    0o777
                } else {
                    0o755
                };
                std::fs::create_dir_all(&dir).map_err(io(&dir))?;
                std::fs::set_permissions(&dir, PermissionsExt::from_mode(mode))
                    .map_err(io(&dir))?;
            }
            let owner = owner(pod, &volume.name).filter(|_| self.chown);
            self.write(&volume.name, &dir, files, owner)?;
        }
        Ok(())
    }

    /// What is bound into the pod: every container's mounts in one file system.
    pub fn binds(&self, pod: &Pod) -> Result<Vec<Bind>, VolumeError> {
        let mut found: BTreeMap<PathBuf, Bind> = BTreeMap::new();
        for container in containers(pod) {
            for mount in container.volume_mounts.iter().flatten() {
                let volume = volumes(pod)
                    .find(|volume| volume.name == mount.name)
                    .ok_or_else(|| VolumeError::Unknown {
                        container: container.name.clone(),
                        volume: mount.name.clone(),
                    })?;
                let mut source = match &volume.host_path {
                    Some(host) => PathBuf::from(&host.path),
                    None => self.dir.join(&volume.name),
                };
                if let Some(sub_path) = &mount.sub_path {
                    source.push(sub_path);
                }
                let target = PathBuf::from(mount.mount_path.trim_end_matches('/'));
                let read_only = mount.read_only == Some(true);
                let entry = found.entry(target.clone()).or_insert_with(|| Bind {
                    source: source.clone(),
                    target: target.clone(),
                    read_only,
                });
                if entry.source != source {
                    return Err(VolumeError::Conflict(target));
                }
                // One file system serves all containers, so the most permissive mount wins.
                entry.read_only &= read_only;
            }
        }
        // Paths in order: parents are bound before what is bound below them.
        Ok(found.into_values().collect())
    }

    fn files(
        &mut self,
        pod: &Pod,
        volume: &Volume,
        sources: Sources<'_>,
    ) -> Result<Files, VolumeError> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        if let Some(source) = &volume.config_map {
            let entries = sources.data.config_map(namespace, &source.name);
            return keyed(
                entries,
                "ConfigMap",
                &source.name,
                source.optional,
                source.items.as_deref(),
                source.default_mode,
            );
        }
        if let Some(source) = &volume.secret {
            let name = source.secret_name.as_deref().unwrap_or_default();
            return keyed(
                sources.data.secret(namespace, name),
                "Secret",
                name,
                source.optional,
                source.items.as_deref(),
                source.default_mode,
            );
        }
        if let Some(source) = &volume.downward_api {
            return downward(pod, source.items.as_deref());
        }
        if let Some(source) = &volume.projected {
            return self.projected(pod, &volume.name, source, sources);
        }
        let scratch = volume.empty_dir.is_some() || volume.persistent_volume_claim.is_some();
        if scratch || (self.system && volume.host_path.is_some()) {
            return Ok(Files::new());
        }
        Err(VolumeError::Unsupported(volume.name.clone()))
    }

    fn projected(
        &mut self,
        pod: &Pod,
        volume: &str,
        projected: &ProjectedVolumeSource,
        sources: Sources<'_>,
    ) -> Result<Files, VolumeError> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let mut files = Files::new();
        for source in projected.sources.iter().flatten() {
            if let Some(map) = &source.config_map {
                let entries = sources.data.config_map(namespace, &map.name);
                files.extend(keyed(
                    entries,
                    "ConfigMap",
                    &map.name,
                    map.optional,
                    map.items.as_deref(),
                    None,
                )?);
            }
            if let Some(secret) = &source.secret {
                let entries = sources.data.secret(namespace, &secret.name);
                files.extend(keyed(
                    entries,
                    "Secret",
                    &secret.name,
                    secret.optional,
                    secret.items.as_deref(),
                    None,
                )?);
            }
            if let Some(api) = &source.downward_api {
                files.extend(downward(pod, api.items.as_deref())?);
            }
            if let Some(token) = &source.service_account_token {
                let content = self.token(pod, volume, token, sources)?.into_bytes();
                files.insert(
                    token.path.clone(),
                    File {
                        content,
                        mode: 0o600,
                    },
                );
            }
        }
        Ok(files)
    }

    /// The current token of a projection; a new one after four fifths of its life, as kubelet does.
    fn token(
        &mut self,
        pod: &Pod,
        volume: &str,
        token: &ServiceAccountTokenProjection,
        Sources { signer, now, .. }: Sources<'_>,
    ) -> Result<String, VolumeError> {
        let seconds = token
            .expiration_seconds
            .and_then(|seconds| u64::try_from(seconds).ok());
        let lifetime = seconds.map_or(TOKEN_LIFETIME_DEFAULT, Duration::from_secs);
        let key = (volume.to_owned(), token.path.clone());
        if let Some((made, content)) = self.tokens.get(&key)
            && now.duration_since(*made).unwrap_or_default() < lifetime * 4 / 5
        {
            return Ok(content.clone());
        }
        let audience = token.audience.as_deref().unwrap_or(crate::token::ISSUER);
        let content = signer.sign(&subject(pod), audience, lifetime, now)?;
        self.tokens.insert(key, (now, content.clone()));
        Ok(content)
    }

    fn write(
        &mut self,
        volume: &str,
        dir: &Path,
        files: Files,
        owner: Option<u32>,
    ) -> Result<(), VolumeError> {
        for (name, file) in &files {
            let key = (volume.to_owned(), name.clone());
            if self.written.get(&key) == Some(file) {
                continue;
            }
            let path = dir.join(name);
            let staged = dir.join(format!("..{}", name.replace('/', "_")));
            std::fs::create_dir_all(path.parent().unwrap_or(dir)).map_err(io(&path))?;
            std::fs::write(&staged, &file.content).map_err(io(&staged))?;
            std::fs::set_permissions(&staged, PermissionsExt::from_mode(file.mode))
                .map_err(io(&staged))?;
            if let Some(owner) = owner {
                chown(&staged, Some(owner), Some(owner)).map_err(io(&staged))?;
            }
            std::fs::rename(&staged, &path).map_err(io(&path))?;
            self.written.insert(key, file.clone());
        }
        let stale: Vec<_> = self
            .written
            .keys()
            .filter(|(of, name)| of == volume && !files.contains_key(name))
            .cloned()
            .collect();
        for key in stale {
            let _ = std::fs::remove_file(dir.join(&key.1));
            self.written.remove(&key);
        }
        Ok(())
    }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> VolumeError {
    let path = path.to_owned();
    move |source| VolumeError::Io { path, source }
}

fn volumes(pod: &Pod) -> impl Iterator<Item = &Volume> {
    pod.spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten())
}

fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    pod.spec.iter().flat_map(|spec| {
        spec.init_containers
            .iter()
            .flatten()
            .chain(&spec.containers)
    })
}

/// The user of the container that mounts the volume: secrets are readable by it alone.
fn owner(pod: &Pod, volume: &str) -> Option<u32> {
    let mounts = |container: &&Container| {
        container
            .volume_mounts
            .iter()
            .flatten()
            .any(|mount| mount.name == volume)
    };
    let container = containers(pod).filter(mounts).last()?;
    Some(crate::process::user_of(pod, container).0)
}

/// Whom the pod's tokens speak for.
fn subject(pod: &Pod) -> Subject {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let account = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.service_account_name.clone());
    Subject {
        namespace: text(&pod.metadata.namespace),
        service_account: account.unwrap_or_else(|| "default".to_owned()),
        pod: text(&pod.metadata.name),
        pod_uid: text(&pod.metadata.uid),
    }
}

fn keyed(
    entries: Option<BTreeMap<String, Vec<u8>>>,
    kind: &'static str,
    name: &str,
    optional: Option<bool>,
    items: Option<&[KeyToPath]>,
    mode: Option<i32>,
) -> Result<Files, VolumeError> {
    let Some(entries) = entries else {
        return match optional {
            Some(true) => Ok(Files::new()),
            _ => Err(VolumeError::Missing {
                kind,
                name: name.to_owned(),
            }),
        };
    };
    let default_mode = mode
        .and_then(|mode| u32::try_from(mode).ok())
        .unwrap_or(0o644);
    let file = |content: &Vec<u8>, mode| File {
        content: content.clone(),
        mode,
    };
    Ok(match items {
        None => entries
            .iter()
            .map(|(key, content)| (key.clone(), file(content, default_mode)))
            .collect(),
        Some(items) => items
            .iter()
            .filter_map(|item| {
                let mode = item
                    .mode
                    .and_then(|mode| u32::try_from(mode).ok())
                    .unwrap_or(default_mode);
                Some((item.path.clone(), file(entries.get(&item.key)?, mode)))
            })
            .collect(),
    })
}

fn downward(pod: &Pod, items: Option<&[DownwardAPIVolumeFile]>) -> Result<Files, VolumeError> {
    let mut files = Files::new();
    for item in items.into_iter().flatten() {
        let content = match (&item.field_ref, &item.resource_field_ref) {
            (Some(selector), _) => env::field(pod, selector)?,
            (None, Some(selector)) => {
                let name = selector.container_name.as_deref();
                let container =
                    containers(pod).find(|container| Some(container.name.as_str()) == name);
                container
                    .map(|container| env::resource(container, selector))
                    .transpose()?
                    .unwrap_or_default()
            }
            (None, None) => String::new(),
        };
        files.insert(
            item.path.clone(),
            File {
                content: content.into_bytes(),
                mode: 0o644,
            },
        );
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Maps(BTreeMap<String, Vec<u8>>);

    impl Data for Maps {
        fn config_map(&self, _: &str, name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
            (name == "c").then(|| self.0.clone())
        }
        fn secret(&self, _: &str, _: &str) -> Option<BTreeMap<String, Vec<u8>>> {
            None
        }
    }

    fn pod(volumes: serde_json::Value, mounts: serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"app": "web"}},
            "spec": {"volumes": volumes, "containers": [{"name": "c", "volumeMounts": mounts}]},
        }))
        .unwrap()
    }

    #[test]
    fn files_follow_their_sources() {
        let dir = tempfile::tempdir().unwrap();
        let signer = TokenSigner::generate().unwrap();
        let pod = pod(
            json!([{"name": "v", "projected": {"sources": [
                {"configMap": {"name": "c", "items": [{"key": "k", "path": "sub/f"}]}},
                {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                {"serviceAccountToken": {"path": "token", "audience": "istio-ca", "expirationSeconds": 1000}},
            ]}}]),
            json!([{"name": "v", "mountPath": "/etc/v/"}]),
        );
        let mut volumes = Volumes::new(dir.path().to_owned(), false, false);
        let read = |name: &str| std::fs::read_to_string(dir.path().join("v").join(name)).unwrap();
        let start = SystemTime::now();
        volumes
            .refresh(
                &pod,
                &Maps([("k".to_owned(), b"1".to_vec())].into()),
                &signer,
                start,
            )
            .unwrap();
        let token = read("token");
        assert_eq!(
            (read("sub/f"), read("labels")),
            ("1".into(), "app=\"web\"".into())
        );

        let later = Maps([("k".to_owned(), b"2".to_vec())].into());
        volumes
            .refresh(&pod, &later, &signer, start + Duration::from_secs(700))
            .unwrap();
        assert_eq!((read("sub/f"), read("token") == token), ("2".into(), true));
        volumes
            .refresh(&pod, &later, &signer, start + Duration::from_secs(801))
            .unwrap();
        assert_ne!(read("token"), token);
        let expected = Bind {
            source: dir.path().join("v"),
            target: "/etc/v".into(),
            read_only: false,
        };
        assert_eq!(volumes.binds(&pod).unwrap(), [expected]);
    }

    #[test]
    fn the_machines_paths_are_for_the_meshs_own_pods() {
        let dir = tempfile::tempdir().unwrap();
        let signer = TokenSigner::generate().unwrap();
        let pod = pod(
            json!([{"name": "h", "hostPath": {"path": "/etc"}}]),
            json!([]),
        );
        let refresh = |system| {
            let mut volumes = Volumes::new(dir.path().to_owned(), system, false);
            volumes.refresh(&pod, &Maps(BTreeMap::new()), &signer, SystemTime::now())
        };
        assert!(matches!(refresh(false), Err(VolumeError::Unsupported(name)) if name == "h"));
        assert!(refresh(true).is_ok());
    }
}
