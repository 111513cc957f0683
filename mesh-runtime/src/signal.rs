//! Signals: the one place that listens for SIGTERM and SIGINT.
//!
//! The assembly awaits [`shutdown`] and then starts the drain; a second signal while draining is for the
//! assembly to interpret (usually: stop at once).

use std::fmt;
use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// Why the program was asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, as Kubernetes and service managers send it.
    Terminate,
    /// SIGINT, as Ctrl-C sends it.
    Interrupt,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        })
    }
}

/// A subscription to the stop signals. None is lost between two calls of [`Signals::next`].
#[derive(Debug)]
pub struct Signals {
    terminate: Stream,
    interrupt: Stream,
}

impl Signals {
    /// Subscribes; from now on these signals no longer end the process by themselves.
    pub fn subscribe() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next stop signal.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.interrupt.recv() => Signal::Interrupt,
        }
    }
}

/// Waits for the first stop signal and logs it.
pub async fn shutdown() -> io::Result<Signal> {
    let signal = Signals::subscribe()?.next().await;
    tracing::info!(%signal, "stopping");
    Ok(signal)
}
