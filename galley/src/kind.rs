//! Which kinds galley knows, and what becomes of each.

pub use crate::kinds::Kind;

/// What is done with objects of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handling {
    /// Decoded, validated and part of the model.
    Model(Kind),
    /// Someone else's business: Deployments, roles, definitions and the like.
    PassedOver,
    /// A kind of the mesh that is not supported yet.
    NotSupported {
        /// Passing over it would leave open what it means to close.
        security: bool,
    },
    /// The group is ours, the version is not served: the served ones.
    UnknownVersion(&'static [&'static str]),
    /// The group is ours, the kind does not exist; perhaps another was meant.
    UnknownKind(Option<&'static str>),
}

/// Groups and kinds of the mesh without support yet; an empty kind is the whole group.
const NOT_SUPPORTED: &[(&str, &str)] = &[
    ("networking.istio.io", "EnvoyFilter"),
    ("networking.istio.io", "WorkloadGroup"),
    ("networking.istio.io", "ProxyConfig"),
    ("extensions.istio.io", ""),
    ("authentication.istio.io", ""),
    ("rbac.istio.io", ""),
    ("config.istio.io", ""),
    ("gateway.networking.k8s.io", ""),
    ("gateway.networking.x-k8s.io", ""),
];

/// Groups whose kinds restrict access.
const SECURITY_GROUPS: [&str; 2] = ["authentication.istio.io", "rbac.istio.io"];

/// Looks a kind up.
pub fn handling(api_version: &str, kind: &str) -> Handling {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let of_group = |known: &&Kind| known.group() == group;
    let known = Kind::ALL.iter().filter(of_group);
    if let Some(known) = known.clone().find(|known| known.name() == kind) {
        return match known.versions().contains(&version) {
            true => Handling::Model(*known),
            false => Handling::UnknownVersion(known.versions()),
        };
    }
    let unsupported = NOT_SUPPORTED
        .iter()
        .find(|row| row.0 == group && (row.1.is_empty() || row.1 == kind));
    if unsupported.is_some() {
        return Handling::NotSupported {
            security: SECURITY_GROUPS.contains(&group),
        };
    }
    if group.ends_with(".istio.io") {
        let names = known.map(|known| known.name());
        return Handling::UnknownKind(crate::decode::suggest::nearest(kind, names));
    }
    Handling::PassedOver
}

impl Kind {
    /// The kind's name.
    pub fn name(self) -> &'static str {
        self.descriptor().name
    }

    /// The API group.
    pub(crate) fn group(self) -> &'static str {
        self.descriptor().group
    }

    /// The versions that are known, the newest first.
    pub(crate) fn versions(self) -> &'static [&'static str] {
        self.descriptor().versions
    }

    /// The version in an `apiVersion`, empty for one that is not known.
    pub(crate) fn version_in(self, api_version: &str) -> &'static str {
        let version = api_version.rsplit('/').next();
        let mut known = self.versions().iter().copied();
        known
            .find(|known| Some(*known) == version)
            .unwrap_or_default()
    }

    /// The kind in names of objects of the model: two groups have a Gateway.
    pub(crate) fn model_name(self) -> &'static str {
        self.descriptor().model_name
    }

    /// True if the kind is there only once its definition has been installed.
    pub(crate) fn needs_definition(self) -> bool {
        self.is_istio() || self.is_gateway_api()
    }

    /// True for kinds whose status says what this mesh made of them.
    pub(crate) fn has_status(self) -> bool {
        self.descriptor().has_status
    }

    /// True for Istio's own kinds.
    pub(crate) fn is_istio(self) -> bool {
        self.group().ends_with(".istio.io")
    }

    /// True for kinds of the Kubernetes Gateway API.
    pub(crate) fn is_gateway_api(self) -> bool {
        self.group() == "gateway.networking.k8s.io"
    }

    /// True for kinds without namespace.
    pub fn is_cluster_wide(self) -> bool {
        self.descriptor().cluster_wide
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_served_versions() {
        for version in ["v1", "v1beta1", "v1alpha3"] {
            let api_version = format!("networking.istio.io/{version}");
            assert_eq!(
                handling(&api_version, "VirtualService"),
                Handling::Model(Kind::VirtualService)
            );
        }
        assert_eq!(handling("v1", "Service"), Handling::Model(Kind::Service));
    }

    #[test]
    fn what_is_not_in_the_model() {
        assert_eq!(handling("apps/v1", "Deployment"), Handling::PassedOver);
        assert_eq!(
            handling("networking.istio.io/v1alpha3", "EnvoyFilter"),
            Handling::NotSupported { security: false }
        );
        assert_eq!(
            handling("gateway.networking.k8s.io/v1", "UDPRoute"),
            Handling::NotSupported { security: false }
        );
        assert_eq!(
            handling("networking.istio.io/v2", "Gateway"),
            Handling::UnknownVersion(&["v1", "v1beta1", "v1alpha3"])
        );
        assert_eq!(
            handling("networking.istio.io/v1", "VirtualServices"),
            Handling::UnknownKind(Some("VirtualService"))
        );
    }
}
