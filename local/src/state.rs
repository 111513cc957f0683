//! The state directory of one local mesh.
//!
//! `applied/` holds what the user applied, `generated/` what a cluster would have added: both are
//! watched by the control plane's directory source. Files are replaced by renaming, so a reader
//! never sees half an object, and files whose content did not change are not touched.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::beneath::Beneath;

/// Mode of files that the control plane reads: it runs as the user who started the mesh.
const FILE_MODE: u32 = 0o600;

/// Name of the file with the keys that verify service-account tokens.
pub const JWKS: &str = "jwks.json";

/// Paths inside one mesh's state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir {
    root: PathBuf,
}

/// The state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file operation failed.
    #[error("cannot {action} \"{}\"", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The directory, or the one it is in, belongs to somebody else, or is a link.
    #[error("\"{}\" is a link or belongs to user {owner}: choose another place with --state", .path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
}

impl StateDir {
    /// The state directory at `root`; nothing is created yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where the mesh called `name` keeps its state unless told otherwise: short, because socket
    /// paths are limited to some hundred bytes.
    pub fn default_for(name: &str) -> Self {
        let uid = rustix::process::getuid();
        let base = match std::env::var_os("XDG_RUNTIME_DIR") {
            Some(dir) if !uid.is_root() && Path::new(&dir).is_dir() => {
                PathBuf::from(dir).join("weft")
            }
            _ if uid.is_root() => PathBuf::from("/run/weft"),
            _ => std::env::temp_dir().join(format!("weft-{}", uid.as_raw())),
        };
        Self::new(base.join(name))
    }

    /// Creates the directory and its parts, readable by the owner alone.
    pub fn create(&self) -> Result<(), StateError> {
        let parts = [
            self.applied(),
            self.generated(),
            self.staging(),
            self.logs(),
            self.namespace_root(),
            self.published(),
            self.ca(),
        ];
        self.create_dir(&self.root)?;
        self.check_owners()?;
        // It may have been there before, and open to others.
        std::fs::set_permissions(&self.root, PermissionsExt::from_mode(0o700))
            .map_err(|source| self.io("close", source))?;
        parts.iter().try_for_each(|path| self.create_dir(path))
    }

    fn create_dir(&self, path: &Path) -> Result<(), StateError> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|source| StateError::Io {
                action: "create",
                path: path.to_owned(),
                source,
            })
    }

    /// The directory must be ours, and what it stands in must not be another user's: in `/tmp` anybody
    /// can be there first, and exchange it later for a link.
    fn check_owners(&self) -> Result<(), StateError> {
        let own = rustix::process::getuid().as_raw();
        let above = self.root.parent().unwrap_or(&self.root);
        for (path, above) in [(self.root.as_path(), false), (above, true)] {
            let metadata = std::fs::symlink_metadata(path);
            let metadata = metadata.map_err(|source| self.io("examine", source))?;
            let owner = metadata.uid();
            let trusted = owner == own || (above && owner == 0);
            let replaced = !above && metadata.is_symlink();
            if !trusted || replaced {
                return Err(StateError::Foreign {
                    path: path.to_owned(),
                    owner,
                });
            }
        }
        Ok(())
    }

    /// Removes everything.
    pub fn remove(&self) -> Result<(), StateError> {
        match std::fs::remove_dir_all(&self.root) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.io("remove", error)),
            _ => Ok(()),
        }
    }

    fn io(&self, action: &'static str, source: io::Error) -> StateError {
        StateError::Io {
            action,
            path: self.root.clone(),
            source,
        }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Objects from `apply -f`.
    pub fn applied(&self) -> PathBuf {
        self.root.join("applied")
    }

    /// Objects that a cluster would have made.
    pub fn generated(&self) -> PathBuf {
        self.root.join("generated")
    }

    /// Files on their way into another directory.
    pub fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    /// Logs of containers and of the supervisor.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Log of one container.
    pub fn container_log(&self, namespace: &str, pod: &str, container: &str) -> ContainerLog {
        ContainerLog {
            logs: self.logs(),
            file: Path::new(namespace)
                .join(pod)
                .join(format!("{container}.log")),
        }
    }

    /// Log of the supervisor.
    pub fn supervisor_log(&self) -> PathBuf {
        self.logs().join("supervisor.log")
    }

    /// Mount point of the memory file system that holds pods' files; empty seen from outside.
    pub fn namespace_root(&self) -> PathBuf {
        self.root.join("ns")
    }

    /// The control plane's certificate authority; files put here before the start are used.
    pub fn ca(&self) -> PathBuf {
        self.root.join("ca")
    }

    /// Where the control plane publishes its root certificate.
    pub fn published(&self) -> PathBuf {
        self.root.join("published")
    }

    /// The published root certificate.
    pub fn root_cert(&self) -> PathBuf {
        self.published().join("root-cert.pem")
    }

    /// Keys that verify service-account tokens.
    pub fn jwks(&self) -> PathBuf {
        self.root.join(JWKS)
    }

    /// Options of the running mesh.
    pub fn options(&self) -> PathBuf {
        self.root.join("options.json")
    }

    /// Process id of the outermost process inside, for `down` after a crash.
    pub fn pid_file(&self) -> PathBuf {
        self.root.join("pid")
    }

    /// Socket of the control API.
    pub fn control_socket(&self) -> PathBuf {
        self.root.join("control.sock")
    }
}

/// The file with a container's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerLog {
    logs: PathBuf,
    file: PathBuf,
}

impl ContainerLog {
    /// Opens it for writing at its end.
    pub fn append(&self) -> io::Result<File> {
        Beneath::create(&self.logs)?.append(&self.file)
    }

    /// Opens it for reading.
    pub fn read(&self) -> io::Result<File> {
        Beneath::open(&self.logs)?.read(&self.file)
    }
}

/// A directory whose files follow a set of objects.
#[derive(Debug)]
pub struct Mirror {
    dir: PathBuf,
    staging: PathBuf,
    written: HashMap<String, String>,
}

impl Mirror {
    /// An empty mirror into `dir`; files are prepared in `staging` on the same file system.
    pub fn new(dir: PathBuf, staging: PathBuf) -> Self {
        Self {
            dir,
            staging,
            written: HashMap::new(),
        }
    }

    /// Makes the directory hold exactly `files` (name to content); returns how many changed.
    pub fn sync(&mut self, files: &BTreeMap<String, String>) -> Result<usize, StateError> {
        let mut changed = 0;
        for (name, content) in files {
            if self.written.get(name) != Some(content) {
                write_atomically(&self.dir, name, &self.staging, content.as_bytes())?;
                self.written.insert(name.clone(), content.clone());
                changed += 1;
            }
        }
        let stale: Vec<_> = self
            .written
            .keys()
            .filter(|name| !files.contains_key(*name))
            .cloned()
            .collect();
        for name in stale {
            remove_file(&self.dir, &name)?;
            self.written.remove(&name);
            changed += 1;
        }
        Ok(changed)
    }
}

/// Writes the file `name` in `dir` by moving a complete one from `staging` over it.
pub fn write_atomically(
    dir: &Path,
    name: &str,
    staging: &Path,
    content: &[u8],
) -> Result<(), StateError> {
    let write = || {
        let staging = Beneath::open(staging)?;
        Beneath::open(dir)?.replace_from(&staging, Path::new(name), content, FILE_MODE)
    };
    write().map_err(|source| StateError::Io {
        action: "write",
        path: dir.join(name),
        source,
    })
}

fn remove_file(dir: &Path, name: &str) -> Result<(), StateError> {
    let remove = || Beneath::open(dir)?.remove(Path::new(name));
    remove().map_err(|source| StateError::Io {
        action: "remove",
        path: dir.join(name),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(dir: &Path) -> BTreeMap<String, String> {
        let entry = |entry: io::Result<std::fs::DirEntry>| {
            let path = entry.unwrap().path();
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                std::fs::read_to_string(path).unwrap(),
            )
        };
        std::fs::read_dir(dir).unwrap().map(entry).collect()
    }

    fn files(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect()
    }

    #[test]
    fn a_mirror_follows_additions_changes_and_removals() {
        let dir = tempfile::tempdir().unwrap();
        let (target, staging) = (dir.path().join("t"), dir.path().join("s"));
        std::fs::create_dir_all(&target).unwrap();
        std::fs::create_dir_all(&staging).unwrap();
        let mut mirror = Mirror::new(target.clone(), staging.clone());
        assert_eq!(mirror.sync(&files(&[("a", "1"), ("b", "1")])).unwrap(), 2);
        assert_eq!(mirror.sync(&files(&[("a", "1"), ("b", "1")])).unwrap(), 0);
        assert_eq!(mirror.sync(&files(&[("b", "2"), ("c", "1")])).unwrap(), 3);
        assert_eq!(content(&target), files(&[("b", "2"), ("c", "1")]));
        assert_eq!(content(&staging), files(&[]));
    }

    #[test]
    fn a_log_stays_below_the_logs() {
        use std::io::Write;

        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path().join("mesh"));
        state.create().unwrap();
        let log = state.container_log("shop", "web-1", "app");
        log.append().unwrap().write_all(b"x").unwrap();
        let file = state.logs().join("shop/web-1/app.log");
        assert_eq!(std::fs::read(file).unwrap(), b"x");
        for (namespace, pod, container) in [
            ("shop", "web-1", "../../../../outside"),
            ("..", "..", "outside"),
            ("shop", "web-1", "/outside"),
        ] {
            let log = state.container_log(namespace, pod, container);
            assert!(log.append().is_err() && log.read().is_err());
        }
        assert!(!dir.path().join("outside.log").exists());
    }

    #[test]
    fn a_directory_of_others_or_a_link_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("elsewhere");
        std::fs::create_dir(&elsewhere).unwrap();
        let link = dir.path().join("mesh");
        std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
        let error = StateDir::new(&link).create().unwrap_err();
        assert!(matches!(error, StateError::Foreign { .. }), "{error}");
        assert_eq!(content(&elsewhere), files(&[]));
    }

    #[test]
    fn only_the_owner_can_look_inside() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path().join("mesh"));
        std::fs::create_dir(state.root()).unwrap();
        std::fs::set_permissions(state.root(), PermissionsExt::from_mode(0o777)).unwrap();
        state.create().unwrap();
        assert_eq!(
            std::fs::metadata(state.root()).unwrap().mode() & 0o777,
            0o700
        );
        state.remove().unwrap();
        state.remove().unwrap();
        assert!(!state.root().exists());
    }
}
