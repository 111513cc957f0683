//! What the kernel tells about processes, and where they run.

use std::{collections::HashMap, ffi::OsString, fs, io, thread, time::Duration};

use anyhow::Context;
use rustix::{
    process::Pid,
    thread::{CpuSet, sched_setaffinity},
};

/// Where the proxies run.
pub const PROXY_CORE: usize = 0;
/// Where load generator and backend run.
pub const LOAD_CORE: usize = 1;

/// Ticks of `/proc/PID/stat` in a second; fixed by the kernel's interface on all platforms we measure on.
const TICKS_PER_SECOND: u64 = 100;

/// Binds the calling thread, and what it will start, to `core`; to core 0 where there is only one.
pub fn pin(core: usize) -> io::Result<()> {
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    let mut set = CpuSet::new();
    // Already bound threads see one core; the kernel refuses a core that is not there.
    set.set(core);
    match sched_setaffinity(None, &set) {
        Err(_) if cores == 1 && core != 0 => pin(0),
        result => Ok(result?),
    }
}

/// Takes a binding of the calling thread back.
pub fn unpin() -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(PROXY_CORE);
    set.set(LOAD_CORE);
    Ok(sched_setaffinity(None, &set)?)
}

/// Binds all threads of `pid`, and those that they will start, to `core`.
pub fn pin_all(pid: u32, core: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let name = task?.file_name();
        let thread = name.to_str().and_then(|name| name.parse().ok());
        // A thread that has ended meanwhile is not missed.
        let _ = sched_setaffinity(thread.and_then(Pid::from_raw), &set);
    }
    Ok(())
}

/// CPU time that all threads of `pid` have used, those that ended included.
pub fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    // The scheduler's own counters have nanoseconds but forget ended threads; proxies keep theirs.
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        let running = text
            .split(' ')
            .next()
            .and_then(|field| field.parse::<u64>().ok());
        nanoseconds += running.unwrap_or(0);
    }
    if nanoseconds > 0 {
        return Ok(Duration::from_nanos(nanoseconds));
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    stat_ticks(&stat)
        .map(|ticks| Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
        .context("cannot read the process's CPU time")
}

/// User and system time in `/proc/PID/stat`; the name before them may hold spaces and brackets.
fn stat_ticks(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(field(11)? + field(12)?)
}

/// Resident memory of `pid` in bytes.
pub fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    resident_kib(&status)
        .map(|kib| kib * 1024)
        .context("cannot read the process's resident memory")
}

fn resident_kib(status: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// CPU time of a process whose threads come and go: those that were seen are remembered when they have ended.
#[derive(Debug)]
pub struct CpuClock {
    pid: u32,
    seen: HashMap<OsString, u64>,
}

impl CpuClock {
    /// The clock of `pid`.
    pub fn new(pid: u32) -> Self {
        let seen = HashMap::new();
        Self { pid, seen }
    }

    /// The time so far. Threads that lived between two calls only are missed.
    pub fn time(&mut self) -> anyhow::Result<Duration> {
        for task in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            let task = task?;
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let running = text.split(' ').next();
            if let Some(running) = running.and_then(|field| field.parse().ok()) {
                self.seen.insert(task.file_name(), running);
            }
        }
        Ok(Duration::from_nanos(self.seen.values().sum()))
    }
}

/// Asks a process that this program started to end.
pub fn terminate(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 5 6 7";
        assert_eq!(stat_ticks(stat), Some(300));
        assert_eq!(stat_ticks("7 (a"), None);
    }

    #[test]
    fn memory_is_found_by_its_name() {
        assert_eq!(resident_kib("Name:\tx\nVmRSS:\t   2048 kB\n"), Some(2048));
    }

    #[test]
    fn this_process_has_used_time_and_memory() {
        let pid = std::process::id();
        assert!(cpu_time(pid).unwrap() > Duration::ZERO);
        assert!(CpuClock::new(pid).time().unwrap() > Duration::ZERO);
        assert!(resident_bytes(pid).unwrap() > 0);
    }
}
