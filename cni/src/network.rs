//! Work inside the network namespace of a pod.
//!
//! A thread enters it and ends there: threads of a pool must never change theirs. Programs that the thread starts
//! are in the namespace too.

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use redirect::{ApplyError, Capture};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use thiserror::Error;

/// Why a pod has no rules.
#[derive(Debug, Error)]
pub enum NetworkError {
    /// The thread could not go there.
    #[error("cannot enter the pod's network namespace (it takes CAP_SYS_ADMIN)")]
    Enter(#[source] io::Error),
    /// The rules were refused.
    #[error("cannot apply capture rules")]
    Apply(#[source] ApplyError),
    /// The directory of namespaces cannot be read.
    #[error("cannot read \"{}\"", path.display())]
    Read {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not exactly one namespace has the pod's address.
    #[error(
        "{found} network namespaces below \"{}\" have the address {address}, expected one: is cniNetnsDir where the container runtime keeps them?",
        path.display()
    )]
    Ambiguous {
        /// The directory.
        path: PathBuf,
        /// The pod's address.
        address: IpAddr,
        /// How many have it.
        found: usize,
    },
}

/// Applies rules in `namespace`; blocks until they are in force.
pub fn apply(namespace: BorrowedFd<'_>, capture: &Capture) -> Result<(), NetworkError> {
    let applied = inside(namespace, || redirect::apply(capture, None, false));
    let applied = applied.map_err(NetworkError::Enter)?;
    applied.map(drop).map_err(NetworkError::Apply)
}

/// The namespace among the files of `directory` that has `address`.
pub fn find(directory: &Path, address: IpAddr) -> Result<File, NetworkError> {
    let failed = |source| NetworkError::Read {
        path: directory.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        // Pods come and go; a file that is none, or no longer one, is somebody else's.
        let Ok(file) = File::open(path) else { continue };
        if inside(file.as_fd(), || has_address(address)).unwrap_or(false) {
            found.push(file);
        }
    }
    match (found.len(), found.pop()) {
        (1, Some(file)) => Ok(file),
        (count, _) => Err(NetworkError::Ambiguous {
            path: directory.to_owned(),
            address,
            found: count,
        }),
    }
}

/// Sockets can be bound to addresses of their own namespace only.
fn has_address(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// Runs `work` on a thread of its own inside `namespace`.
fn inside<T: Send>(namespace: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let enter_and_work = || {
        move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
        Ok(work())
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("pod-network".to_owned());
        let thread = thread.spawn_scoped(scope, enter_and_work)?;
        let done = thread.join();
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
