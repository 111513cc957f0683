//! A pod's file system: a private root in memory with the system's programs bound read-only.
//!
//! The pod sees `/usr` and the shared libraries of the machine, its own `/etc`, `/run`, `/tmp` and
//! `/var`, and its volumes; it sees no home directory and no other pod. Nothing is ever created on
//! the machine's own file systems: directories that must be changed are rebuilt from links first.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt, symlink},
    path::{Component, Path, PathBuf},
};

use rustix::{
    mount::{
        MountFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_remount, unmount,
    },
    process::{chdir, pivot_root},
};
use serde::{Deserialize, Serialize};

/// Directories of the machine that hold programs and libraries.
///
/// `/opt` is not among them: images keep their own programs there, and pods mount volumes below it.
const SHARED: [&str; 8] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "nix", "gnu"];

/// Files of the kernel that change the whole machine (runc's `readonlyPaths`).
const KERNEL_SETTINGS: [&str; 5] = [
    "proc/sys",
    "proc/sysrq-trigger",
    "proc/irq",
    "proc/bus",
    "proc/fs",
];

/// Devices that every program may expect.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Where the machine's `/etc` is bound, as the target of the links in ours.
const HOST_ETC: &str = ".host/etc";

/// What a pod's file system is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootfsPlan {
    /// Empty directory on which the new root is mounted.
    pub root: PathBuf,
    /// Host name.
    pub hostname: String,
    /// Content of `/etc/resolv.conf`.
    pub resolv_conf: String,
    /// Content of `/etc/hosts`.
    pub hosts: String,
    /// Files and directories to bind.
    pub binds: Vec<Bind>,
}

/// One file or directory that appears in the pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Outside.
    pub source: PathBuf,
    /// Inside; absolute.
    pub target: PathBuf,
    /// Whether the pod may write.
    pub read_only: bool,
}

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} \"{}\"", .path.display())]
pub struct RootfsError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

trait Step<T> {
    fn step(self, action: &'static str, path: &Path) -> Result<T, RootfsError>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, action: &'static str, path: &Path) -> Result<T, RootfsError> {
        self.map_err(|error| RootfsError {
            action,
            path: path.to_owned(),
            source: error.into(),
        })
    }
}

/// Builds the file system and makes it the root of this process's mount namespace.
pub fn enter(plan: &RootfsPlan) -> Result<(), RootfsError> {
    let root = &plan.root;
    mount(
        "weft-pod",
        root,
        "tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV,
        c"mode=755",
    )
    .step("mount a file system on", root)?;
    share_system(root)?;
    make_devices(root)?;
    make_etc(plan)?;
    for (dir, mode) in [
        ("run", 0o755),
        ("tmp", 0o1777),
        ("var", 0o755),
        ("var/tmp", 0o1777),
        ("var/log", 0o1777),
        ("var/lib", 0o755),
        ("home", 0o755),
        ("root", 0o700),
    ] {
        make_dir_mode(&root.join(dir), mode)?;
    }
    symlink("/run", root.join("var/run")).step("link", &root.join("var/run"))?;
    for bind in &plan.binds {
        apply_bind(root, bind)?;
    }
    swap_root(root)
}

fn share_system(root: &Path) -> Result<(), RootfsError> {
    for name in SHARED {
        let source = Path::new("/").join(name);
        let target = root.join(name);
        let Ok(metadata) = fs::symlink_metadata(&source) else {
            continue;
        };
        if metadata.is_symlink() {
            let to = fs::read_link(&source).step("read", &source)?;
            symlink(to, &target).step("link", &target)?;
        } else {
            bind_dir(&source, &target, true)?;
        }
    }
    for name in ["proc", "sys"] {
        bind_dir(&Path::new("/").join(name), &root.join(name), false)?;
    }
    protect_kernel(root)
}

/// Takes the kernel's settings out of reach, as container runtimes do: without any capability, user 0 could
/// change them for the whole machine, `core_pattern` and its like among them, because it owns the files.
fn protect_kernel(root: &Path) -> Result<(), RootfsError> {
    for name in KERNEL_SETTINGS {
        let path = root.join(name);
        if path.exists() {
            mount_bind_recursive(&path, &path).step("bind", &path)?;
            make_kernel_read_only(&path);
        }
    }
    let sys = root.join("sys");
    let mounts = fs::read_to_string("/proc/self/mountinfo")
        .step("read", Path::new("/proc/self/mountinfo"))?;
    // The fifth word of a line is where something is mounted.
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    for point in points
        .map(Path::new)
        .filter(|point| point.starts_with(&sys))
    {
        make_kernel_read_only(point);
    }
    Ok(())
}

/// Keeps the other flags, which a user namespace does not allow to be taken away.
fn make_kernel_read_only(target: &Path) {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let _ = mount_remount(target, MountFlags::BIND | MountFlags::RDONLY | flags, c"");
}

fn bind_dir(source: &Path, target: &Path, read_only: bool) -> Result<(), RootfsError> {
    make_dir_mode(target, 0o755)?;
    mount_bind_recursive(source, target).step("bind", source)?;
    if read_only {
        make_read_only(target);
    }
    Ok(())
}

/// In a user namespace the kernel refuses to change flags that it locked; the files' own permissions
/// still hold there, because the pod's users do not own them.
fn make_read_only(target: &Path) {
    let _ = mount_remount(target, MountFlags::BIND | MountFlags::RDONLY, c"");
}

fn make_devices(root: &Path) -> Result<(), RootfsError> {
    let dev = root.join("dev");
    make_dir_mode(&dev, 0o755)?;
    for name in DEVICES {
        let (source, target) = (Path::new("/dev").join(name), dev.join(name));
        if source.exists() {
            fs::write(&target, "").step("create", &target)?;
            mount_bind(&source, &target).step("bind", &source)?;
        }
    }
    make_dir_mode(&dev.join("shm"), 0o1777)?;
    for (name, to) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "fd/0"),
        ("stdout", "fd/1"),
        ("stderr", "fd/2"),
    ] {
        symlink(to, dev.join(name)).step("link", &dev.join(name))?;
    }
    Ok(())
}

fn make_etc(plan: &RootfsPlan) -> Result<(), RootfsError> {
    let (etc, host_etc) = (plan.root.join("etc"), plan.root.join(HOST_ETC));
    bind_dir(Path::new("/etc"), &host_etc, true)?;
    make_dir_mode(&etc, 0o755)?;
    link_children(Path::new("/etc"), &Path::new("/").join(HOST_ETC), &etc)?;
    let own = [
        ("resolv.conf", plan.resolv_conf.as_str()),
        ("hosts", &plan.hosts),
        ("hostname", &plan.hostname),
    ];
    for (name, content) in own {
        let path = etc.join(name);
        let _ = fs::remove_file(&path);
        fs::write(&path, content).step("write", &path)?;
    }
    Ok(())
}

/// Fills `dir` with links to the entries of `listed`, which pods see as `visible`.
fn link_children(listed: &Path, visible: &Path, dir: &Path) -> Result<(), RootfsError> {
    for entry in fs::read_dir(listed).step("list", listed)?.flatten() {
        let link = dir.join(entry.file_name());
        symlink(visible.join(entry.file_name()), &link).step("link", &link)?;
    }
    Ok(())
}

fn apply_bind(root: &Path, bind: &Bind) -> Result<(), RootfsError> {
    let Bind {
        source,
        target,
        read_only,
    } = bind;
    let inside = place(root, target)?;
    if source.is_dir() {
        prepare(
            &inside,
            target,
            |path| make_dir_mode(path, 0o755),
            Path::is_dir,
        )?;
        mount_bind_recursive(source, &inside).step("bind", source)?;
    } else {
        prepare(
            &inside,
            target,
            |path| fs::write(path, "").step("create", path),
            Path::is_file,
        )?;
        mount_bind(source, &inside).step("bind", source)?;
    }
    if *read_only {
        make_read_only(&inside);
    }
    Ok(())
}

/// Makes sure that there is something of the right kind to bind onto.
fn prepare(
    inside: &Path,
    target: &Path,
    create: impl Fn(&Path) -> Result<(), RootfsError>,
    fits: impl Fn(&Path) -> bool,
) -> Result<(), RootfsError> {
    let linked = fs::symlink_metadata(inside).is_ok_and(|metadata| metadata.is_symlink());
    if is_shared(target) || (fits(inside) && !linked) {
        return Ok(());
    }
    if linked {
        fs::remove_file(inside).step("replace", inside)?;
    }
    create(inside)
}

/// Whether a path is on a file system of the machine, where nothing may be created.
fn is_shared(target: &Path) -> bool {
    let first = target.components().find_map(|component| match component {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    first.is_some_and(|name| SHARED.contains(&name) || ["proc", "sys", ".host"].contains(&name))
}

/// The path of `target` below `root`, with all parents as real directories of ours.
///
/// A parent that is a link into the machine's file system becomes a directory of links, so that
/// nothing is created outside.
fn place(root: &Path, target: &Path) -> Result<PathBuf, RootfsError> {
    let normal = |component| match component {
        Component::Normal(name) => Some(name),
        _ => None,
    };
    let names: Vec<_> = target.components().filter_map(normal).collect();
    let (last, parents) = names.split_last().ok_or_else(|| RootfsError {
        action: "bind onto",
        path: target.to_owned(),
        source: io::ErrorKind::InvalidInput.into(),
    })?;
    let mut path = root.to_owned();
    for name in parents {
        path.push(name);
        match fs::symlink_metadata(&path) {
            _ if is_shared(target) => {}
            Ok(metadata) if metadata.is_symlink() => path = own_directory(root, &path)?,
            Ok(_) => {}
            Err(_) => make_dir_mode(&path, 0o755)?,
        }
    }
    Ok(path.join(last))
}

/// Follows a link of ours, or replaces a link to the machine's directory by a directory of links.
fn own_directory(root: &Path, link: &Path) -> Result<PathBuf, RootfsError> {
    let to = fs::read_link(link).step("read", link)?;
    let Ok(below) = to.strip_prefix(Path::new("/").join(HOST_ETC)) else {
        let absolute = to
            .strip_prefix("/")
            .map_or_else(|_| link.with_file_name(&to), |rest| root.join(rest));
        return Ok(absolute);
    };
    fs::remove_file(link).step("replace", link)?;
    make_dir_mode(link, 0o755)?;
    link_children(&Path::new("/etc").join(below), &to, link)?;
    Ok(link.to_owned())
}

fn swap_root(root: &Path) -> Result<(), RootfsError> {
    let old = root.join(".old");
    make_dir_mode(&old, 0o700)?;
    chdir(root).step("enter", root)?;
    pivot_root(".", ".old").step("make a root of", root)?;
    chdir("/").step("enter", Path::new("/"))?;
    unmount("/.old", UnmountFlags::DETACH).step("leave", Path::new("/.old"))?;
    // An empty directory is harmless if it stays.
    let _ = fs::remove_dir("/.old");
    Ok(())
}

fn make_dir_mode(path: &Path, mode: u32) -> Result<(), RootfsError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .step("create", path)?;
    // The umask may have taken bits away.
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).step("set the mode of", path)
}
