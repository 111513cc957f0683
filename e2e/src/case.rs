//! What a case is.

use anyhow::Result;

use crate::{
    args::{Args, DataPlane},
    mesh::Mesh,
};

/// One case of the suite.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// What it shows, in one line.
    pub about: &'static str,
    /// With which data planes it runs.
    pub data_planes: &'static [DataPlane],
    /// Where it runs.
    pub places: Places,
    /// Runs it.
    pub run: fn(&mut Mesh) -> Result<()>,
}

/// Where a case runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Places {
    /// In every mesh.
    Everywhere,
    /// In a Kubernetes cluster.
    Kubernetes,
    /// In a Kubernetes cluster whose mesh, with all that belongs to it, may be removed and come back.
    Disposable,
}

impl Places {
    /// Whether the suite runs in such a place.
    pub fn includes(self, args: &Args) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Kubernetes => args.kubeconfig.is_some(),
            Self::Disposable => args.kubeconfig.is_some() && args.disposable,
        }
    }
}

/// Our proxy only.
pub const WEFT: &[DataPlane] = &[DataPlane::Weft];
/// Our proxy and Envoy, each alone.
pub const EACH: &[DataPlane] = &[DataPlane::Weft, DataPlane::Envoy];
/// Both in one mesh.
pub const MIXED: &[DataPlane] = &[DataPlane::Mixed];
