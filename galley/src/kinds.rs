//! The kinds that galley reads: one file or folder for each, with the wire struct, the reading of it and, for policies,
//! what stands in for a refused object.
//!
//! A wire struct is what a user writes, and everything in it is optional. [`Read::read`](read::Read::read) makes the
//! model of it and reports what is wrong in the same step, so nothing is parsed twice and no rule can be forgotten by
//! one of two passes. A kind is added by its file and by its line in [`kinds!`].

pub mod definition;

pub(crate) mod descriptor;
pub(crate) mod findings;
pub(crate) mod metadata;
pub(crate) mod operators;
pub(crate) mod read;
pub(crate) mod rules;
pub(crate) mod scope;
pub(crate) mod stand_in;
pub(crate) mod wire;

pub(crate) mod authorization_policy;
pub(crate) mod peer_authentication;
pub(crate) mod request_authentication;
pub mod service_entry;
pub(crate) mod telemetry;
pub mod workload_entry;

use mesh_api::resource::Meta;

use self::definition::Definition;
use self::read::Read;
use self::scope::Context;
use self::stand_in::StandIn;
use crate::decode::finding::Finding;
use crate::kind::Kind;
use crate::manifest::Document;
use crate::normalize::Model;

/// Registers the kinds: name, wire struct, and what its model becomes in [`Model`].
macro_rules! kinds {
    ($($kind:ident: $wire:ty => $variant:ident;)*) => {
        /// Reads an object whose metadata has been read before; nothing for kinds that are read elsewhere.
        pub(crate) fn read(
            kind: Kind,
            document: &Document,
            meta: Option<&Meta>,
            context: &Context<'_>,
            findings: &mut Vec<Finding>,
        ) -> Option<Option<Model>> {
            Some(match kind {
                $(Kind::$kind => {
                    let model = read::read::<$wire>(document, meta, context, findings);
                    model.map(|model| {
                        let model: Option<_> = model.into();
                        model.map_or(Model::Nothing, Model::$variant)
                    })
                })*
                _ => return None,
            })
        }

        /// What stands in for a refused object of which no good version is known; for policies alone.
        pub(crate) fn stand_in(kind: Kind, meta: &Meta, document: &Document) -> Option<Model> {
            let stand_in = match kind {
                $(Kind::$kind => stand_in::stand_in::<$wire>(meta, document),)*
                _ => None,
            };
            stand_in.map(|stand_in| match stand_in {
                StandIn::AuthorizationPolicy(policy) => Model::AuthorizationPolicy(policy.into()),
                StandIn::PeerAuthentication(policy) => Model::PeerAuthentication(policy.into()),
            })
        }

        const DEFINED: &[Option<Definition>] = &[$(<$wire as Read>::KIND.definition,)*];
    };
}

kinds! {
    ServiceEntry: service_entry::ServiceEntrySpec => ServiceEntry;
    WorkloadEntry: workload_entry::WorkloadEntrySpec => Machine;
    PeerAuthentication: peer_authentication::PeerAuthenticationSpec => PeerAuthentication;
    RequestAuthentication: request_authentication::RequestAuthenticationSpec => RequestAuthentication;
    AuthorizationPolicy: authorization_policy::AuthorizationPolicySpec => AuthorizationPolicy;
    Telemetry: telemetry::TelemetrySpec => Telemetry;
}

/// The definitions of kinds that come with the mesh.
fn defined() -> impl Iterator<Item = &'static Definition> {
    DEFINED.iter().flatten()
}
