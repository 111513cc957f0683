//! Pod volumes as directories in memory: ConfigMaps, Secrets, tokens, pod information, scratch space.
//!
//! Each volume is a directory that is bound at its mount paths. Files are replaced by renaming inside
//! that directory, so a refreshed token or changed ConfigMap shows up in the running pod. Containers can
//! write there too, and may have put links where directories were: every access goes through
//! [`Beneath`].

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use k8s_openapi::api::core::v1::{
    Container, DownwardAPIVolumeFile, KeyToPath, Pod, ProjectedVolumeSource,
    ServiceAccountTokenProjection, Volume, VolumeMount,
};

use crate::{
    beneath::{Beneath, Kind},
    env::{self, Data, EnvError},
    rootfs::Bind,
    token::{Subject, TokenError, TokenSigner},
};

/// Mode of volumes and of directories in them that containers write into.
const SCRATCH_MODE: u32 = 0o777;

/// Mode of all others.
const DIR_MODE: u32 = 0o755;

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
    /// A `subPathExpr` that leads nowhere, or out of its volume.
    #[error(
        "container \"{container}\" mounts \"{expression}\", which stands for \"{path}\": {reason}"
    )]
    SubPath {
        /// The container.
        container: String,
        /// As written.
        expression: String,
        /// With its variables replaced.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
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

    /// Writes what changed since the last call. A volume that cannot be written does not keep the others
    /// from it; the first error is reported.
    pub fn refresh(
        &mut self,
        pod: &Pod,
        data: &dyn Data,
        signer: &TokenSigner,
        now: SystemTime,
    ) -> Result<(), VolumeError> {
        let sources = Sources { data, signer, now };
        let base = Beneath::create(&self.dir).map_err(io(&self.dir))?;
        let mut outcome = Ok(());
        for volume in volumes(pod) {
            let refreshed = self.refresh_volume(&base, pod, volume, sources);
            outcome = outcome.and(refreshed);
        }
        outcome
    }

    fn refresh_volume(
        &mut self,
        base: &Beneath,
        pod: &Pod,
        volume: &Volume,
        sources: Sources<'_>,
    ) -> Result<(), VolumeError> {
        let files = self.files(pod, volume, sources)?;
        let dir = base
            .make_dir(Path::new(&volume.name), mode_of(volume))
            .map_err(io(&self.dir.join(&volume.name)))?;
        let owner = owner(pod, &volume.name).filter(|_| self.chown);
        self.write(&volume.name, &dir, files, owner)
    }

    /// What is bound into the pod: every container's mounts in one file system.
    pub fn binds(&self, pod: &Pod, data: &dyn Data) -> Result<Vec<Bind>, VolumeError> {
        let mut found: BTreeMap<PathBuf, Bind> = BTreeMap::new();
        for container in containers(pod) {
            for mount in container.volume_mounts.iter().flatten() {
                let volume = volumes(pod)
                    .find(|volume| volume.name == mount.name)
                    .ok_or_else(|| VolumeError::Unknown {
                        container: container.name.clone(),
                        volume: mount.name.clone(),
                    })?;
                let sub_path = sub_path(pod, container, mount, data)?;
                let source = self.source(volume, sub_path.as_deref())?;
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

    /// The directory or file outside that a mount shows. A directory that `subPath` names is made, as
    /// kubelet does; no container has run yet that could put something else there.
    fn source(&self, volume: &Volume, sub_path: Option<&str>) -> Result<PathBuf, VolumeError> {
        let dir = match &volume.host_path {
            Some(host) => PathBuf::from(&host.path),
            None => self.dir.join(&volume.name),
        };
        let Some(sub_path) = sub_path.filter(|path| !path.is_empty()) else {
            return Ok(dir);
        };
        let inside = Path::new(sub_path);
        let source = dir.join(inside);
        let base = Beneath::open(&dir).map_err(io(&dir))?;
        if base.kind(inside).map_err(io(&source))? == Kind::Nothing {
            let made = base.make_dir(inside, mode_of(volume));
            made.map_err(io(&source))?;
        }
        Ok(source)
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
            .and_then(|seconds| u32::try_from(seconds).ok());
        let lifetime = seconds.map_or(TOKEN_LIFETIME_DEFAULT, |seconds| {
            Duration::from_secs(seconds.into())
        });
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
        dir: &Beneath,
        files: Files,
        owner: Option<u32>,
    ) -> Result<(), VolumeError> {
        for (name, file) in &files {
            let key = (volume.to_owned(), name.clone());
            if self.written.get(&key) == Some(file) {
                continue;
            }
            dir.replace(Path::new(name), &file.content, file.mode, owner)
                .map_err(io(&self.dir.join(volume).join(name)))?;
            self.written.insert(key, file.clone());
        }
        let stale: Vec<_> = self
            .written
            .keys()
            .filter(|(of, name)| of == volume && !files.contains_key(name))
            .cloned()
            .collect();
        for key in stale {
            // What a container has put in its place is the container's.
            let _ = dir.remove(Path::new(&key.1));
            self.written.remove(&key);
        }
        Ok(())
    }
}

/// Mode of a volume's directory.
fn mode_of(volume: &Volume) -> u32 {
    match volume.empty_dir.is_some() || volume.persistent_volume_claim.is_some() {
        true => SCRATCH_MODE,
        false => DIR_MODE,
    }
}

/// The part of a volume that a mount shows: `subPath`, or `subPathExpr` with the container's variables.
/// What variables bring is checked as what is written down is.
fn sub_path(
    pod: &Pod,
    container: &Container,
    mount: &VolumeMount,
    data: &dyn Data,
) -> Result<Option<String>, VolumeError> {
    let Some(expression) = &mount.sub_path_expr else {
        return Ok(mount.sub_path.clone());
    };
    let environment = env::environment(pod, container, data)?;
    let path = env::expand(expression, &environment);
    let reason = if path.contains("$(") {
        "a variable is not known"
    } else if path.is_empty() || path.starts_with('/') || path.split('/').any(|part| part == "..") {
        "it must be a relative path without \"..\""
    } else {
        return Ok(Some(path));
    };
    Err(VolumeError::SubPath {
        container: container.name.clone(),
        expression: expression.clone(),
        path,
        reason,
    })
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
        assert_eq!(volumes.binds(&pod, &later).unwrap(), [expected]);
    }

    /// A volume with a ConfigMap below `sub`, filled once, and a directory beside it that is not the pod's.
    fn attacked(item: &str) -> (tempfile::TempDir, Pod, Volumes) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("outside")).unwrap();
        std::fs::write(dir.path().join("outside/f"), "untouched").unwrap();
        let pod = pod(
            json!([{"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": item}]}}]),
            json!([{"name": "v", "mountPath": "/v"}]),
        );
        let volumes = Volumes::new(dir.path().join("pod/volumes"), false, false);
        (dir, pod, volumes)
    }

    fn refresh(volumes: &mut Volumes, pod: &Pod, content: &[u8]) -> Result<(), VolumeError> {
        let signer = TokenSigner::generate().unwrap();
        let maps = Maps([("k".to_owned(), content.to_vec())].into());
        volumes.refresh(pod, &maps, &signer, SystemTime::now())
    }

    fn assert_untouched(dir: &tempfile::TempDir) {
        let outside = dir.path().join("outside");
        let names: Vec<_> = std::fs::read_dir(&outside)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["f"]);
        assert_eq!(
            std::fs::read_to_string(outside.join("f")).unwrap(),
            "untouched"
        );
    }

    #[test]
    fn a_container_that_puts_links_into_its_volume_gains_nothing() {
        let (dir, pod, mut volumes) = attacked("sub/f");
        refresh(&mut volumes, &pod, b"1").unwrap();
        let volume = dir.path().join("pod/volumes/v");
        std::fs::remove_dir_all(volume.join("sub")).unwrap();
        std::os::unix::fs::symlink("../../../outside", volume.join("sub")).unwrap();
        refresh(&mut volumes, &pod, b"2").unwrap_err();
        assert_untouched(&dir);

        // The volume itself cannot be exchanged by a container, but the rule does not depend on that.
        std::fs::remove_dir_all(&volume).unwrap();
        std::os::unix::fs::symlink("../../outside", &volume).unwrap();
        refresh(&mut volumes, &pod, b"3").unwrap_err();
        assert_untouched(&dir);
    }

    #[test]
    fn a_link_in_the_place_of_a_file_is_replaced_and_not_followed() {
        let (dir, pod, mut volumes) = attacked("f");
        refresh(&mut volumes, &pod, b"1").unwrap();
        let file = dir.path().join("pod/volumes/v/f");
        // Where a name for the file to come could be guessed, a link would wait there.
        std::os::unix::fs::symlink("../../../outside/f", file.with_file_name("..f")).unwrap();
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("../../../outside/f", &file).unwrap();
        refresh(&mut volumes, &pod, b"2").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"2");
        assert!(std::fs::symlink_metadata(&file).unwrap().is_file());
        assert_untouched(&dir);
    }

    #[test]
    fn a_path_that_no_door_has_seen_is_refused_where_it_is_used() {
        for item in [
            "../../../outside/f",
            "/etc/weft-test",
            "a/../../../../outside/f",
        ] {
            let (dir, pod, mut volumes) = attacked(item);
            refresh(&mut volumes, &pod, b"1").unwrap_err();
            assert_untouched(&dir);
        }
    }

    #[test]
    fn a_volume_that_cannot_be_written_does_not_keep_the_others_from_it() {
        let dir = tempfile::tempdir().unwrap();
        let pod = pod(
            json!([
                {"name": "a", "configMap": {"name": "absent"}},
                {"name": "b", "configMap": {"name": "c"}},
            ]),
            json!([]),
        );
        let mut volumes = Volumes::new(dir.path().to_owned(), false, false);
        let error = refresh(&mut volumes, &pod, b"1").unwrap_err();
        assert!(matches!(error, VolumeError::Missing { name, .. } if name == "absent"));
        assert_eq!(std::fs::read(dir.path().join("b/k")).unwrap(), b"1");
    }

    #[test]
    fn sub_paths_are_made_and_stay_in_their_volume() {
        let dir = tempfile::tempdir().unwrap();
        let of = |mount: serde_json::Value| {
            let mut pod = pod(json!([{"name": "v", "emptyDir": {}}]), json!([mount]));
            let spec = pod.spec.as_mut().unwrap();
            spec.containers[0].env = serde_json::from_value(json!([
                {"name": "GOOD", "value": "a/b"}, {"name": "BAD", "value": "../../x"},
            ]))
            .unwrap();
            let mut volumes = Volumes::new(dir.path().join("volumes"), false, false);
            refresh(&mut volumes, &pod, b"").unwrap();
            let binds = volumes.binds(&pod, &Maps(BTreeMap::new()))?;
            Ok::<_, VolumeError>(binds[0].source.clone())
        };
        let mount = |key: &str, path: &str| json!({"name": "v", "mountPath": "/v", key: path});
        let expected = dir.path().join("volumes/v/a/b");
        assert_eq!(of(mount("subPathExpr", "$(GOOD)")).unwrap(), expected);
        assert_eq!(of(mount("subPath", "a/b")).unwrap(), expected);
        assert!(expected.is_dir());
        for (key, path) in [
            ("subPathExpr", "$(BAD)"),
            ("subPathExpr", "$(UNKNOWN)/x"),
            ("subPath", "../../x"),
            ("subPath", "/x"),
        ] {
            assert!(of(mount(key, path)).is_err(), "{path}");
        }
        assert!(!dir.path().join("x").exists());
        std::os::unix::fs::symlink("/etc", dir.path().join("volumes/v/link")).unwrap();
        assert!(of(mount("subPath", "link")).is_err());
        assert!(of(mount("subPath", "link/x")).is_err());
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
