//! Files below a directory, whatever lies on the way to them.
//!
//! The supervisor is root where the user is, and it writes into directories that containers may write
//! into as well: a container can replace a directory of its ConfigMap volume by a link to `/etc`, and the
//! next update of the ConfigMap would follow it. So every name that comes from a manifest is resolved
//! here and nowhere else: component by component from an open directory, without following links, and
//! without `..`. `openat2` with `RESOLVE_BENEATH` would do the same in one call, but container runtimes
//! refuse it often enough that a second way would be needed anyway.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, OwnedFd},
    path::{Component, Path},
};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, fchmod, fchown, fstat, mkdirat, openat,
    renameat, statat, unlinkat,
};

/// Bits of a mode that a file or directory may have; set-user-id and its like are not among them.
const MODE_MASK: u32 = 0o777;

/// An open directory.
#[derive(Debug)]
pub struct Beneath(OwnedFd);

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A file.
    File,
    /// Nothing.
    Nothing,
}

impl Beneath {
    /// Opens `dir`, a path that no manifest has a say in.
    pub fn open(dir: &Path) -> io::Result<Self> {
        Ok(Self(openat(CWD, dir, directory(), Mode::empty())?))
    }

    /// Opens `dir`, and makes it first if it is not there; no manifest has a say in the path.
    pub fn create(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        Self::open(dir)
    }

    /// The directory at `path` below this one.
    pub fn dir(&self, path: &Path) -> io::Result<Self> {
        self.descend(&names(path)?)
    }

    /// The directory at `path`; what is missing on the way is made, with this mode.
    pub fn make_dir(&self, path: &Path, mode: u32) -> io::Result<Self> {
        self.descend_or_make(&names(path)?, mode)
    }

    /// Puts a file at `path` in one step: a reader sees the old content or the new one. Directories on
    /// the way are made. What was there is replaced, a link itself and not what it points to.
    pub fn replace(
        &self,
        path: &Path,
        content: &[u8],
        mode: u32,
        owner: Option<u32>,
    ) -> io::Result<()> {
        let names = names(path)?;
        let (name, parents) = last(&names)?;
        let dir = self.descend_or_make(parents, 0o755)?;
        dir.put(name, &dir, content, mode, owner)
    }

    /// The same with the file prepared in `staging`, on the same file system, so that nobody who
    /// watches this directory sees it come.
    pub fn replace_from(
        &self,
        staging: &Self,
        path: &Path,
        content: &[u8],
        mode: u32,
    ) -> io::Result<()> {
        let names = names(path)?;
        let (name, parents) = last(&names)?;
        let dir = self.descend_or_make(parents, 0o755)?;
        dir.put(name, staging, content, mode, None)
    }

    fn put(
        &self,
        name: &OsStr,
        staging: &Self,
        content: &[u8],
        mode: u32,
        owner: Option<u32>,
    ) -> io::Result<()> {
        let staged = format!("..{:016x}", fastrand::u64(..));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let fd = openat(
            &staging.0,
            &staged,
            flags | OFlags::CLOEXEC,
            Mode::from_raw_mode(0o600),
        )?;
        let written = write(fd, content, mode, owner)
            .and_then(|()| Ok(renameat(&staging.0, &staged, &self.0, name)?));
        if written.is_err() {
            // The error that is reported is the first one.
            let _ = unlinkat(&staging.0, &staged, AtFlags::empty());
        }
        written
    }

    /// Opens the file at `path` for writing at its end; it and the directories on the way are made,
    /// readable by the owner alone.
    pub fn append(&self, path: &Path) -> io::Result<File> {
        let names = names(path)?;
        let (name, parents) = last(&names)?;
        let dir = self.descend_or_make(parents, 0o700)?;
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE;
        dir.file(name, flags)
    }

    /// Opens the file at `path` for reading.
    pub fn read(&self, path: &Path) -> io::Result<File> {
        let names = names(path)?;
        let (name, parents) = last(&names)?;
        self.descend(parents)?.file(name, OFlags::RDONLY)
    }

    /// Removes the file at `path`; one that is not there is no error.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        let names = names(path)?;
        let (name, parents) = last(&names)?;
        let removed = self
            .descend(parents)
            .and_then(|dir| Ok(unlinkat(&dir.0, name, AtFlags::empty())?));
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What `path` leads to. A link or a device on the way or at the end is an error.
    pub fn kind(&self, path: &Path) -> io::Result<Kind> {
        let names = names(path)?;
        let (name, parents) = last(&names)?;
        let status = self
            .descend(parents)
            .and_then(|dir| Ok(statat(&dir.0, name, AtFlags::SYMLINK_NOFOLLOW)?));
        match status {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Kind::Nothing),
            Err(error) => Err(error),
            Ok(status) => match FileType::from_raw_mode(status.st_mode) {
                FileType::Directory => Ok(Kind::Directory),
                FileType::RegularFile => Ok(Kind::File),
                _ => Err(io::Error::other("neither a file nor a directory")),
            },
        }
    }

    fn descend(&self, names: &[&OsStr]) -> io::Result<Self> {
        let mut dir = Self(self.0.try_clone()?);
        for name in names {
            dir = dir.child(name)?;
        }
        Ok(dir)
    }

    fn descend_or_make(&self, names: &[&OsStr], mode: u32) -> io::Result<Self> {
        let mut dir = Self(self.0.try_clone()?);
        for name in names {
            dir = match dir.child(name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    dir.make_child(name, mode)?
                }
                found => found?,
            };
        }
        Ok(dir)
    }

    fn child(&self, name: &OsStr) -> io::Result<Self> {
        let flags = directory() | OFlags::NOFOLLOW;
        Ok(Self(openat(&self.0, name, flags, Mode::empty())?))
    }

    fn make_child(&self, name: &OsStr, mode: u32) -> io::Result<Self> {
        match mkdirat(&self.0, name, Mode::from_raw_mode(0o700)) {
            Ok(()) => {
                let child = self.child(name)?;
                // The umask takes bits away at creation.
                fchmod(&child.0, Mode::from_raw_mode(mode & MODE_MASK))?;
                Ok(child)
            }
            // Made by somebody else meanwhile.
            Err(rustix::io::Errno::EXIST) => self.child(name),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a regular file; nothing else, a FIFO among it, is ever waited for.
    fn file(&self, name: &OsStr, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = openat(&self.0, name, flags, Mode::from_raw_mode(0o600))?;
        if FileType::from_raw_mode(fstat(&fd)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("not a file"));
        }
        Ok(File::from(fd))
    }
}

impl AsFd for Beneath {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn directory() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC
}

/// The names of a relative path; one that could lead out of a directory is refused.
fn names(path: &Path) -> io::Result<Vec<&OsStr>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                let message = format!("\"{}\" leads out of its directory", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
        }
    }
    Ok(names)
}

fn last<'a, 'b>(names: &'a [&'b OsStr]) -> io::Result<(&'b OsStr, &'a [&'b OsStr])> {
    let empty = || io::Error::new(io::ErrorKind::InvalidInput, "the path names no file");
    let (name, parents) = names.split_last().ok_or_else(empty)?;
    Ok((name, parents))
}

fn write(fd: OwnedFd, content: &[u8], mode: u32, owner: Option<u32>) -> io::Result<()> {
    let mut file = File::from(fd);
    file.write_all(content)?;
    if let Some(owner) = owner {
        fchown(
            &file,
            Some(Uid::from_raw(owner)),
            Some(Gid::from_raw(owner)),
        )?;
    }
    Ok(fchmod(&file, Mode::from_raw_mode(mode & MODE_MASK))?)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::Read,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use rstest::rstest;

    use super::*;

    /// A directory to work in, with a neighbour that must stay as it is.
    struct Place {
        dir: tempfile::TempDir,
        beneath: Beneath,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("inside")).unwrap();
            fs::create_dir(dir.path().join("outside")).unwrap();
            fs::write(dir.path().join("outside/secret"), "untouched").unwrap();
            let beneath = Beneath::open(&dir.path().join("inside")).unwrap();
            Self { dir, beneath }
        }

        fn inside(&self, path: &str) -> std::path::PathBuf {
            self.dir.path().join("inside").join(path)
        }

        fn assert_outside_is_untouched(&self) {
            let outside = self.dir.path().join("outside");
            let names: Vec<_> = fs::read_dir(&outside)
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            assert_eq!(names, ["secret"]);
            assert_eq!(
                fs::read_to_string(outside.join("secret")).unwrap(),
                "untouched"
            );
        }
    }

    #[test]
    fn files_are_replaced_appended_read_and_removed() {
        let place = Place::new();
        let path = Path::new("a/b/file");
        place.beneath.replace(path, b"1", 0o640, None).unwrap();
        place.beneath.replace(path, b"2", 0o4755, None).unwrap();
        assert_eq!(fs::read(place.inside("a/b/file")).unwrap(), b"2");
        let mode = |path: &str| {
            let metadata = fs::metadata(place.inside(path)).unwrap();
            metadata.permissions().mode() & 0o7777
        };
        assert_eq!((mode("a/b/file"), mode("a/b")), (0o755, 0o755));
        let log = Path::new("logs/x.log");
        place.beneath.append(log).unwrap().write_all(b"a").unwrap();
        place.beneath.append(log).unwrap().write_all(b"b").unwrap();
        let mut text = String::new();
        let mut file = place.beneath.read(log).unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "ab");
        place.beneath.remove(path).unwrap();
        place.beneath.remove(path).unwrap();
        assert_eq!(place.beneath.kind(path).unwrap(), Kind::Nothing);
        assert_eq!(
            place.beneath.kind(Path::new("a/b")).unwrap(),
            Kind::Directory
        );
        let left: Vec<_> = fs::read_dir(place.inside("a/b")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }

    #[rstest]
    #[case("../outside/secret")]
    #[case("a/../../outside/secret")]
    #[case("/etc/passwd")]
    #[case("..")]
    #[case(".")]
    #[case("")]
    fn a_path_that_leads_out_is_refused(#[case] path: &str) {
        let place = Place::new();
        let path = Path::new(path);
        let results = [
            place.beneath.replace(path, b"x", 0o644, None),
            place.beneath.append(path).map(drop),
            place.beneath.remove(path),
            place.beneath.kind(path).map(drop),
        ];
        for result in results {
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        place.assert_outside_is_untouched();
    }

    #[test]
    fn links_are_not_followed() {
        let place = Place::new();
        let outside = place.dir.path().join("outside");
        symlink(&outside, place.inside("absolute")).unwrap();
        symlink("../outside", place.inside("relative")).unwrap();
        for link in ["absolute", "relative"] {
            let path = Path::new(link).join("secret");
            assert!(place.beneath.replace(&path, b"x", 0o644, None).is_err());
            assert!(place.beneath.append(&path).is_err());
            assert!(place.beneath.read(&path).is_err());
            assert!(place.beneath.remove(&path).is_err());
            assert!(place.beneath.kind(&path).is_err());
            assert!(place.beneath.make_dir(&path, 0o755).is_err());
        }
        place.assert_outside_is_untouched();
    }

    #[test]
    fn a_link_in_the_place_of_a_file_is_replaced_itself() {
        let place = Place::new();
        symlink("../outside/secret", place.inside("file")).unwrap();
        let path = Path::new("file");
        assert!(place.beneath.append(path).is_err());
        assert!(place.beneath.read(path).is_err());
        place.beneath.replace(path, b"new", 0o644, None).unwrap();
        assert_eq!(fs::read(place.inside("file")).unwrap(), b"new");
        symlink("../outside/secret", place.inside("gone")).unwrap();
        place.beneath.remove(Path::new("gone")).unwrap();
        place.assert_outside_is_untouched();
    }
}
