//! Wire structs: Istio's kinds as users write them.
//!
//! Everything is optional here and nothing is checked beyond its type; meaning
//! begins in `validate` and `normalize`. Field names and types are those of the
//! `istio.io/api` messages, whose reference documents them; one file per kind.
//! Kubernetes' own kinds come from `k8s-openapi`.
//!
//! The same structs give the schemas of the definitions that a cluster gets, in
//! `definition`; what a schema says beyond types stands at the structs.

#![allow(
    missing_docs,
    reason = "fields mirror Istio's reference one to one; the model in mesh-api documents their meaning"
)]

pub(crate) mod destination_rule;
pub(crate) mod gateway;
pub(crate) mod gateway_api;
pub(crate) mod mesh_config;
pub(crate) mod sidecar;
pub(crate) mod traffic_policy;
pub(crate) mod virtual_service;

pub(crate) use crate::kinds::wire::wire;
pub(crate) use crate::kinds::wire::{Percent, Port, PortSelector, WorkloadSelector};
