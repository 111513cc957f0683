//! Where sample manifests are: the repository's own, or Istio's files unchanged where they are asked for.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};

/// The root of the repository that this was built in.
const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A place to look manifests up in.
#[derive(Debug, Clone)]
pub struct Samples {
    ours: PathBuf,
    istio: Option<PathBuf>,
}

impl Samples {
    /// Istio's samples in `istio`, ours where it is not given.
    ///
    /// # Errors
    /// When there are no samples of Istio's in `istio`.
    pub fn find(istio: Option<&Path>) -> Result<Self> {
        if let Some(dir) = istio {
            let there = dir.join("bookinfo").is_dir();
            ensure!(there, "no samples of Istio's in \"{}\"", dir.display());
        }
        Ok(Self {
            ours: repository().join("samples"),
            istio: istio.map(Path::to_owned),
        })
    }

    /// Whose samples these are.
    pub fn origin(&self) -> String {
        match &self.istio {
            Some(dir) => format!("Istio's, in {}", dir.display()),
            None => "this repository's; none of Istio's".to_owned(),
        }
    }

    /// Bookinfo's deployments and services.
    pub fn bookinfo(&self) -> Result<PathBuf> {
        self.file(
            "bookinfo/platform/kube/bookinfo.yaml",
            "bookinfo/bookinfo.yaml",
        )
    }

    /// A file of bookinfo's gateways, routes and rules, by its name.
    pub fn bookinfo_networking(&self, name: &str) -> Result<PathBuf> {
        let dir = match name {
            "bookinfo-gateway" | "destination-rule-all" => "bookinfo",
            _ => "bookinfo-routes",
        };
        self.file(
            &format!("bookinfo/networking/{name}.yaml"),
            &format!("{dir}/{name}.yaml"),
        )
    }

    /// A file of tcp-echo, by its name.
    pub fn tcp_echo(&self, name: &str) -> Result<PathBuf> {
        let path = format!("tcp-echo/{name}.yaml");
        self.file(&path, &path)
    }

    fn file(&self, istio: &str, ours: &str) -> Result<PathBuf> {
        let path = match &self.istio {
            Some(dir) => dir.join(istio),
            None => self.ours.join(ours),
        };
        ensure!(path.is_file(), "no sample \"{}\"", path.display());
        Ok(path)
    }
}

/// The repository: where this runs, if that has samples; the suite may have been moved since it was built.
pub(crate) fn repository() -> PathBuf {
    env::current_dir()
        .ok()
        .filter(|here| here.join("samples/bookinfo").is_dir())
        .unwrap_or_else(|| PathBuf::from(REPOSITORY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_that_are_asked_for_must_be_there() {
        let error = Samples::find(Some(Path::new("/nonexistent"))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no samples of Istio's in \"/nonexistent\""
        );
    }

    #[test]
    fn our_own_samples_have_every_file_the_suite_uses() {
        let ours = Samples::find(None).unwrap();
        ours.bookinfo().unwrap();
        for name in crate::cases::BOOKINFO_FILES {
            ours.bookinfo_networking(name).unwrap();
        }
        for name in crate::cases::TCP_ECHO_FILES {
            ours.tcp_echo(name).unwrap();
        }
    }
}
