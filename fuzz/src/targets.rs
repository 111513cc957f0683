//! One target for each parser of bytes from outside, by where the bytes come from.

mod admission;
mod connection;
mod control_plane;
mod http1;
mod http2;
mod identity;
mod manifest;
mod metadata;
mod planted;
mod text;
mod xds_resources;

use crate::Target;

static TARGETS: [&[Target]; 10] = [
    connection::TARGETS,
    http1::TARGETS,
    http2::TARGETS,
    metadata::TARGETS,
    xds_resources::TARGETS,
    control_plane::TARGETS,
    identity::TARGETS,
    admission::TARGETS,
    manifest::TARGETS,
    text::TARGETS,
];

/// All targets.
pub fn all() -> impl Iterator<Item = &'static Target> {
    TARGETS.iter().copied().flatten()
}

/// The target of this name; those with planted faults, by which the driver is tested, are found only here.
pub fn find(name: &str) -> Option<&'static Target> {
    all().chain(planted::TARGETS).find(|t| t.name == name)
}
