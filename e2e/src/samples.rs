//! Where sample manifests are: Istio's own files unchanged where they are present, ours otherwise.

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
    /// Istio's samples in `istio`, or beside the repository; ours where neither is there.
    pub fn find(istio: Option<&Path>) -> Self {
        let repository = repository();
        let beside = repository.join("../shared/samples");
        let istio = istio.map(Path::to_owned).unwrap_or(beside);
        Self {
            ours: repository.join("samples"),
            istio: istio.join("bookinfo").is_dir().then_some(istio),
        }
    }

    /// Whose samples these are.
    pub fn origin(&self) -> String {
        match &self.istio {
            Some(dir) => format!("Istio's, in {}", dir.display()),
            None => "this repository's".to_owned(),
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
    fn our_own_samples_have_every_file_the_suite_uses() {
        let ours = Samples {
            istio: None,
            ..Samples::find(None)
        };
        ours.bookinfo().unwrap();
        for name in crate::cases::BOOKINFO_FILES {
            ours.bookinfo_networking(name).unwrap();
        }
        for name in crate::cases::TCP_ECHO_FILES {
            ours.tcp_echo(name).unwrap();
        }
    }
}
