//! `PeerAuthentication`.

use mesh_api::authn::{MtlsMode, PeerAuthentication};

use super::{Fault, Scope, label_selector};
use crate::crd::peer_authentication as wire;
use crate::manifest::path::FieldPath;

pub(super) fn normalize(
    spec: &wire::PeerAuthentication,
    scope: &Scope<'_>,
) -> Result<PeerAuthentication, Fault> {
    let root = FieldPath::ROOT;
    let path = root.field("spec");
    let ports = path.field("portLevelMtls");
    let port_modes = spec
        .port_level_mtls
        .iter()
        .map(|(number, mtls)| Ok((scope.port(*number, &ports)?, mode(mtls.mode))));
    Ok(PeerAuthentication {
        meta: scope.meta.clone(),
        selector: label_selector(spec.selector.as_ref()),
        mode: spec.mtls.as_ref().and_then(|mtls| mode(mtls.mode)),
        port_modes: port_modes.collect::<Result<_, _>>()?,
    })
}

fn mode(mode: wire::MtlsMode) -> Option<MtlsMode> {
    match mode {
        wire::MtlsMode::Unset => None,
        wire::MtlsMode::Disable => Some(MtlsMode::Disable),
        wire::MtlsMode::Permissive => Some(MtlsMode::Permissive),
        wire::MtlsMode::Strict => Some(MtlsMode::Strict),
    }
}
