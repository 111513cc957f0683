//! A CA that is kept in a directory, beside its control plane.

use std::path::{Path, PathBuf};

use super::{Ca, CaConfig, CaError, plugged_in, self_signed};
use crate::metrics::Metrics;

/// The directory of a CA.
#[derive(Clone, Debug)]
pub struct CaDirectory {
    path: PathBuf,
}

impl CaDirectory {
    /// The CA in `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the CA, or makes a self-signed one if there is none.
    pub fn open(&self, config: CaConfig, metrics: Metrics) -> Result<Ca, CaError> {
        let files = match plugged_in::read(&self.path)? {
            Some(files) => files,
            None => {
                let now = config.clock.now();
                let files = self_signed::create(config.trust_domain.as_str(), now)
                    .map_err(CaError::SelfSign)?;
                plugged_in::write(&self.path, &files)?;
                tracing::info!(directory = %self.path.display(), "made a self-signed root");
                files
            }
        };
        Ca::new(config, &self.origin(), files, metrics)
    }

    /// Hands what is in the directory to `ca` if it changed; says whether it was taken over.
    ///
    /// Missing files change nothing: the CA in force stays.
    pub fn reload(&self, ca: &Ca) -> Result<bool, CaError> {
        match plugged_in::read(&self.path)? {
            Some(files) => ca.take_over(&self.origin(), files),
            None => Ok(false),
        }
    }

    /// Renews a self-signed root that is in the last part of its life.
    pub fn renew_if_due(&self, ca: &Ca) -> Result<(), CaError> {
        if let Some(files) = ca.renewal()? {
            plugged_in::write(&self.path, &files)?;
            ca.take_over(&self.origin(), files)?;
            tracing::info!("renewed the self-signed root");
        }
        Ok(())
    }

    fn origin(&self) -> String {
        self.path.display().to_string()
    }
}
