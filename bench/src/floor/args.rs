//! The command line of `bench-floor`.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Context;
use clap::{Parser, ValueEnum};

/// Forwards every request to one upstream.
#[derive(Debug, Clone, Parser)]
#[command(name = "bench-floor")]
pub struct Args {
    /// Where it listens
    #[arg(long)]
    pub listen: SocketAddr,
    /// Where requests go
    #[arg(long)]
    pub upstream: SocketAddr,
    /// What clients speak
    #[arg(long, value_enum)]
    pub from: Speaks,
    /// What the upstream speaks
    #[arg(long, value_enum)]
    pub to: Speaks,
    /// The certificate that is shown
    #[arg(long)]
    pub cert: Option<PathBuf>,
    /// Its key
    #[arg(long)]
    pub key: Option<PathBuf>,
    /// The root that peers' certificates lead to
    #[arg(long)]
    pub root: Option<PathBuf>,
}

/// How requests travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Speaks {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 in clear text.
    H2c,
    /// HTTP/2 over TLS, with certificates on both sides.
    H2Tls,
}

/// The files of one side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity<'a> {
    pub(super) cert: &'a PathBuf,
    pub(super) key: &'a PathBuf,
    pub(super) root: &'a PathBuf,
}

impl Args {
    pub(super) fn identity(&self) -> anyhow::Result<Identity<'_>> {
        let needed = "h2-tls needs --cert, --key and --root";
        Ok(Identity {
            cert: self.cert.as_ref().context(needed)?,
            key: self.key.as_ref().context(needed)?,
            root: self.root.as_ref().context(needed)?,
        })
    }
}
