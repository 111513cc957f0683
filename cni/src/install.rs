//! The plugin on the node: its program among the CNI programs, its entry in the configuration of the node's network.
//!
//! Both are put right whenever somebody overwrites or removes them, as network providers do at their own upgrades.
//! The agent is ready while both are in place. The plugin is named in the configuration only once its program is
//! there and the agent answers, and it is unnamed before its program goes.

mod conflist;
mod file;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use cni_plugin::TYPE;
use cni_plugin::config::Settings;
use mesh_runtime::drain;
use mesh_runtime::file_watch::FileWatch;
use mesh_runtime::readiness::{Guard, Readiness};

use crate::metrics::{Metrics, Success};

pub use conflist::ConflistError;

/// A look at the node without any event, for what a watch cannot see.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Where things are, as the agent sees them.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The plugin's program in the agent's image.
    pub program: PathBuf,
    /// The directory of CNI programs.
    pub bin_dir: PathBuf,
    /// The directory of network configurations.
    pub conf_dir: PathBuf,
    /// The configuration to join, if it is not the first that the runtime would take.
    pub conf_name: Option<String>,
}

/// Keeps the plugin in place.
#[derive(Clone, Debug)]
pub struct Installer {
    layout: Layout,
    settings: Settings,
    metrics: Metrics,
}

/// What a look at the node found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Everything was in place.
    InPlace,
    /// Something was put right.
    PutRight,
    /// The node has no network yet that the plugin could join.
    NoNetwork,
}

impl Installer {
    /// Installs by `layout`; the plugin gets `settings`.
    pub fn new(layout: Layout, settings: Settings, metrics: Metrics) -> Self {
        Self {
            layout,
            settings,
            metrics,
        }
    }

    /// Keeps the plugin in place until the drain begins; not ready from the call on.
    pub fn run(
        self,
        readiness: Readiness,
        drain: drain::Watch,
    ) -> impl Future<Output = anyhow::Result<()>> {
        let pending = readiness.guard(WAITING);
        self.keep(pending, readiness, drain)
    }

    async fn keep(
        self,
        pending: Guard,
        readiness: Readiness,
        drain: drain::Watch,
    ) -> anyhow::Result<()> {
        let mut pending = Some(pending);
        let watch = FileWatch::new(&[&self.layout.bin_dir, &self.layout.conf_dir])?;
        loop {
            let installer = self.clone();
            let found = tokio::task::spawn_blocking(move || installer.put_right()).await?;
            self.report(found, &mut pending, &readiness);
            tokio::select! {
                () = watch.changed() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = drain.signaled() => return Ok(()),
            }
        }
    }

    /// Puts the plugin in place.
    pub fn put_right(&self) -> anyhow::Result<Found> {
        let Layout {
            program,
            bin_dir,
            conf_dir,
            conf_name,
        } = &self.layout;
        let copied = file::copy(program, &bin_dir.join(TYPE))
            .with_context(|| format!("cannot install the plugin in \"{}\"", bin_dir.display()))?;
        let Some(path) = conflist::primary(conf_dir, conf_name.as_deref())? else {
            return Ok(Found::NoNetwork);
        };
        let text = read(&path)?;
        let chained = conflist::chain(&text, &self.settings)
            .with_context(|| format!("cannot join \"{}\"", path.display()))?;
        if let Some(chained) = &chained {
            write_list(&path, chained)?;
        }
        match copied || chained.is_some() {
            true => Ok(Found::PutRight),
            false => Ok(Found::InPlace),
        }
    }

    /// Takes the plugin away, wherever it is named.
    pub fn remove(&self) -> anyhow::Result<()> {
        for path in conflist::files(&self.layout.conf_dir)? {
            if let Ok(Some(without)) = conflist::unchain(&read(&path)?) {
                file::write(&path, &without)
                    .with_context(|| format!("cannot write \"{}\"", path.display()))?;
                tracing::info!(file = %path.display(), "the plugin is no longer in the chain");
            }
        }
        let program = self.layout.bin_dir.join(TYPE);
        match std::fs::remove_file(&program) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove \"{}\"", program.display()))
            }
            _ => Ok(()),
        }
    }

    fn report(
        &self,
        found: anyhow::Result<Found>,
        pending: &mut Option<Guard>,
        readiness: &Readiness,
    ) {
        let in_place = matches!(found, Ok(Found::InPlace | Found::PutRight));
        match found {
            Ok(Found::InPlace) => {}
            Ok(Found::PutRight) => {
                tracing::info!("the plugin was put in place");
                self.metrics.installed(Success::Yes);
            }
            Ok(Found::NoNetwork) => {
                tracing::info!(
                    directory = %self.layout.conf_dir.display(),
                    "the node has no network configuration yet"
                );
            }
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "the plugin cannot be installed"
                );
                self.metrics.installed(Success::No);
            }
        }
        self.metrics.set_ready(in_place);
        match in_place {
            true => *pending = None,
            false if pending.is_none() => *pending = Some(readiness.guard(WAITING)),
            false => {}
        }
    }
}

/// What the agent is not ready without.
const WAITING: &str = "the plugin in the node's network configuration";

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read \"{}\"", path.display()))
}

/// A single configuration becomes a list, which runtimes know by the file's name.
fn write_list(path: &Path, text: &str) -> anyhow::Result<()> {
    let list = path.with_extension("conflist");
    file::write_like(path, &list, text)
        .with_context(|| format!("cannot write \"{}\"", list.display()))?;
    if list != path {
        std::fs::remove_file(path)
            .with_context(|| format!("cannot remove \"{}\"", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
