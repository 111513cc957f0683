//! Readiness: the program is ready when everything that it waits for has happened.
//!
//! Whoever is waited for holds a [`Guard`] with a name and drops it when done. What is still pending can be
//! listed by name, so that "not ready" always comes with the reason. A guard may be taken again later, which
//! makes the program unready again.

use std::collections::BTreeMap;

use tokio::sync::watch;

/// Names of pending guards with how many of each are held.
type Pending = BTreeMap<String, usize>;

/// The shared view of what is pending.
#[derive(Clone, Debug)]
pub struct Readiness {
    pending: watch::Sender<Pending>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Readiness {
    /// Ready, until a guard is taken.
    pub fn new() -> Self {
        Self {
            pending: watch::Sender::new(Pending::new()),
        }
    }

    /// Makes the program wait for `name` until the guard is dropped.
    pub fn guard(&self, name: impl Into<String>) -> Guard {
        let name = name.into();
        self.pending
            .send_modify(|pending| *pending.entry(name.clone()).or_default() += 1);
        Guard {
            name,
            pending: self.pending.clone(),
        }
    }

    /// Whether nothing is pending.
    pub fn is_ready(&self) -> bool {
        self.pending.borrow().is_empty()
    }

    /// The names that are waited for, sorted.
    pub fn pending(&self) -> Vec<String> {
        self.pending.borrow().keys().cloned().collect()
    }

    /// Returns once nothing is pending.
    pub async fn wait(&self) {
        self.pending
            .subscribe()
            .wait_for(Pending::is_empty)
            .await
            .expect("self holds a sender");
    }
}

/// Something that must happen before the program is ready; dropping it says that it has.
#[derive(Debug)]
#[must_use = "dropping the guard reports readiness"]
pub struct Guard {
    name: String,
    pending: watch::Sender<Pending>,
}

impl Guard {
    /// What is waited for.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.pending.send_modify(|pending| {
            if let Some(held) = pending.get_mut(&self.name) {
                *held -= 1;
                if *held == 0 {
                    pending.remove(&self.name);
                }
            }
        });
        tracing::debug!(name = self.name, "readiness condition met");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn is_ready_when_every_guard_is_dropped() {
        let readiness = Readiness::new();
        assert!(readiness.is_ready());
        let xds = readiness.guard("xds");
        let ca = readiness.guard("ca");
        let ca_again = readiness.guard("ca");
        assert_eq!(readiness.pending(), ["ca", "xds"]);
        drop(ca);
        drop(xds);
        assert_eq!(readiness.pending(), ["ca"]);
        let waiting = tokio::spawn({
            let readiness = readiness.clone();
            async move { readiness.wait().await }
        });
        drop(ca_again);
        waiting.await.unwrap();
        assert!(readiness.is_ready());
    }
}
