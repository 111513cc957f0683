//! What a case is.

use anyhow::Result;

use crate::{args::DataPlane, mesh::Mesh};

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
}

/// Our proxy only.
pub const WEFT: &[DataPlane] = &[DataPlane::Weft];
/// Our proxy and Envoy, each alone.
pub const EACH: &[DataPlane] = &[DataPlane::Weft, DataPlane::Envoy];
/// Both in one mesh.
pub const MIXED: &[DataPlane] = &[DataPlane::Mixed];
