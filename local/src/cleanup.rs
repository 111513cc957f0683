//! What an earlier run left behind: usually nothing but a state directory.
//!
//! The kernel ends a mesh's processes and namespaces with its first process, so a crash leaves files
//! only. A mesh that still runs is never touched from here unless asked.

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::state::{StateDir, StateError};

/// How long a killed mesh may take to be gone.
const GONE_TIMEOUT: Duration = Duration::from_secs(10);

/// What is left cannot be cleared.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    /// It is no leftover: it runs.
    #[error(
        "a mesh is running already in \"{0}\": end it with \"meshctl local down\", or choose another name with --name"
    )]
    Running(String),
    /// Files.
    #[error(transparent)]
    State(#[from] StateError),
    /// The old mesh does not end.
    #[error("the mesh of process {0} does not end")]
    Stuck(i32),
}

/// Removes the leftovers of a mesh that is gone; refuses while it runs.
pub fn clear(state: &StateDir) -> Result<(), CleanupError> {
    if running(state).is_some() {
        return Err(CleanupError::Running(state.root().display().to_string()));
    }
    Ok(state.remove()?)
}

/// Kills a mesh that no longer answers, and removes its files; `false` if there was none.
pub fn kill(state: &StateDir) -> Result<bool, CleanupError> {
    let pid = running(state);
    if let Some(pid) = pid {
        // It may have ended meanwhile.
        let _ = kill_process(pid, Signal::KILL);
        let deadline = Instant::now() + GONE_TIMEOUT;
        while running(state).is_some() {
            if Instant::now() > deadline {
                return Err(CleanupError::Stuck(pid.as_raw_nonzero().get()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let found = pid.is_some() || state.root().exists();
    state.remove()?;
    Ok(found)
}

/// The outermost process of the mesh in `state`, if it is alive.
pub fn running(state: &StateDir) -> Option<Pid> {
    let text = fs::read_to_string(state.pid_file()).ok()?;
    let pid = Pid::from_raw(text.trim().parse().ok()?)?;
    test_kill_process(pid).ok()?;
    // A process id is reused some day: the command line tells whose it is.
    let command = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).ok()?;
    let root = state.root().as_os_str().as_encoded_bytes();
    let ours = command.split(|byte| *byte == 0).any(|word| word == root);
    (ours && !is_zombie(pid)).then_some(pid)
}

fn is_zombie(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    let state = |text: &str| {
        text.rsplit_once(") ")
            .and_then(|(_, rest)| rest.chars().next())
    };
    stat.is_ok_and(|text| state(&text) == Some('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_process_with_the_same_id_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path().join("mesh"));
        state.create().unwrap();
        fs::write(state.pid_file(), std::process::id().to_string()).unwrap();
        assert_eq!(running(&state), None);
        clear(&state).unwrap();
        assert!(!state.root().exists());
    }
}
