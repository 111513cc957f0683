//! Resources as they travel: discovery responses whose bodies are shared bytes.
//!
//! The messages have the field numbers of Envoy's `DiscoveryResponse`, `DeltaDiscoveryResponse`,
//! `Resource` and `Any`, without the fields that no one here reads. A server encodes a resource
//! once and clones the [`Bytes`] for every proxy; a client's body is a slice of the message it
//! received. Requests are small and rare, so those are `envoy-types`' own.

use bytes::Bytes;
use prost::{DecodeError, Message, Name};

use crate::canonical;
use crate::pb::envoy::config::core::v3::ControlPlane;

/// `google.protobuf.Any` with a shared body.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Any {
    /// What the body is.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The encoded message.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

impl Any {
    /// Encodes a message under its own type URL; equal messages give equal bytes.
    pub fn pack<M: Message + Name>(message: &M) -> Self {
        Self {
            type_url: M::type_url(),
            value: encode(message).into(),
        }
    }

    /// Decodes the body as `M`.
    ///
    /// # Errors
    /// When the type URL is another one or the body does not decode.
    pub fn unpack<M: Message + Name + Default>(&self) -> Result<M, UnpackError> {
        if self.type_url != M::type_url() {
            return Err(UnpackError::OtherType {
                expected: M::type_url(),
                found: self.type_url.clone(),
            });
        }
        Ok(M::decode(self.value.clone())?)
    }
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The type URL names another message.
    #[error("expected a \"{expected}\", found: \"{found}\"")]
    OtherType {
        /// The type URL that was asked for.
        expected: String,
        /// The type URL in the message.
        found: String,
    },
    /// The bytes are not an encoding of the message.
    #[error("malformed message")]
    Malformed(#[from] DecodeError),
}

/// Packs a message into the `Any` type that `envoy-types` uses inside its messages; equal messages give equal
/// bytes.
pub fn pack<M: Message + Name>(message: &M) -> crate::pb::google::protobuf::Any {
    crate::pb::google::protobuf::Any {
        type_url: M::type_url(),
        value: encode(message),
    }
}

fn encode<M: Message + Name>(message: &M) -> Vec<u8> {
    let mut bytes = message.encode_to_vec();
    canonical::sort_maps(&M::full_name(), &mut bytes);
    bytes
}

/// `envoy.service.discovery.v3.Resource`: one named, versioned resource.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Resource {
    /// The version of this resource alone.
    #[prost(string, tag = "1")]
    pub version: String,
    /// The body. Absent, it says that the resource does not exist (VHDS).
    #[prost(message, optional, tag = "2")]
    pub resource: Option<Any>,
    /// The name.
    #[prost(string, tag = "3")]
    pub name: String,
    /// Other names under which the resource was asked for (VHDS: the host that was looked up).
    #[prost(string, repeated, tag = "4")]
    pub aliases: Vec<String>,
}

/// `envoy.service.discovery.v3.DeltaDiscoveryResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct DeltaDiscoveryResponse {
    /// A version of everything, for people only.
    #[prost(string, tag = "1")]
    pub system_version_info: String,
    /// What is new or changed.
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Resource>,
    /// The type of all resources in this response.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// What the client's answer has to quote.
    #[prost(string, tag = "5")]
    pub nonce: String,
    /// Names of what no longer exists.
    #[prost(string, repeated, tag = "6")]
    pub removed_resources: Vec<String>,
    /// Who sent this.
    #[prost(message, optional, tag = "7")]
    pub control_plane: Option<ControlPlane>,
}

/// `envoy.service.discovery.v3.DiscoveryResponse`, the state of the world.
#[derive(Clone, PartialEq, Message)]
pub struct DiscoveryResponse {
    /// The version of the whole set.
    #[prost(string, tag = "1")]
    pub version_info: String,
    /// The bodies.
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Any>,
    /// The type of all resources in this response.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// What the client's answer has to quote.
    #[prost(string, tag = "5")]
    pub nonce: String,
    /// Who sent this.
    #[prost(message, optional, tag = "6")]
    pub control_plane: Option<ControlPlane>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::envoy::config::cluster::v3::Cluster;
    use crate::pb::envoy::service::discovery::v3 as wire;

    fn cluster() -> Cluster {
        Cluster {
            name: "a".into(),
            ..Default::default()
        }
    }

    #[test]
    fn unpacking_gives_back_what_was_packed() {
        assert_eq!(
            Any::pack(&cluster()).unpack::<Cluster>().unwrap(),
            cluster()
        );
    }

    #[test]
    fn unpacking_refuses_another_type() {
        let error = Any::pack(&cluster()).unpack::<ControlPlane>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "expected a \"type.googleapis.com/envoy.config.core.v3.ControlPlane\", \
             found: \"type.googleapis.com/envoy.config.cluster.v3.Cluster\""
        );
    }

    #[test]
    fn delta_response_is_envoys_on_the_wire() {
        let ours = DeltaDiscoveryResponse {
            system_version_info: "s".into(),
            resources: vec![Resource {
                version: "1".into(),
                resource: Some(Any::pack(&cluster())),
                name: "a".into(),
                aliases: vec!["b".into()],
            }],
            type_url: crate::type_url::CLUSTER.into(),
            nonce: "n".into(),
            removed_resources: vec!["c".into()],
            control_plane: Some(ControlPlane {
                identifier: "weft".into(),
            }),
        };
        let theirs = wire::DeltaDiscoveryResponse::decode(&*ours.encode_to_vec()).unwrap();
        assert_eq!(theirs.encode_to_vec(), ours.encode_to_vec());
        assert_eq!(theirs.resources[0].resource, Some(pack(&cluster())));
        assert_eq!(theirs.removed_resources, ["c"]);
        assert_eq!(
            DeltaDiscoveryResponse::decode(&*theirs.encode_to_vec()).unwrap(),
            ours
        );
    }

    #[test]
    fn state_of_the_world_response_is_envoys_on_the_wire() {
        let ours = DiscoveryResponse {
            version_info: "v".into(),
            resources: vec![Any::pack(&cluster())],
            type_url: crate::type_url::CLUSTER.into(),
            nonce: "n".into(),
            control_plane: Some(ControlPlane {
                identifier: "weft".into(),
            }),
        };
        let theirs = wire::DiscoveryResponse::decode(&*ours.encode_to_vec()).unwrap();
        assert_eq!(theirs.encode_to_vec(), ours.encode_to_vec());
        assert_eq!(
            DiscoveryResponse::decode(&*theirs.encode_to_vec()).unwrap(),
            ours
        );
    }
}
