//! What GatewayClasses, Gateways and routes are told about themselves, without
//! times and generations, which the writer knows.

use serde_json::{Value, json};

use super::attach::Attachment;
use super::infrastructure::own_service;
use super::listener::{BoundListener, Reason, service_key};
use crate::kinds::gateway_api::{CONTROLLER, GROUP, KubernetesGateway};
use crate::snapshot::derived::world::World;

/// A class of this mesh.
pub(super) fn class() -> Value {
    json!({"conditions": [condition("Accepted", "Accepted", &Ok(()))]})
}

/// Nothing if no parent is ours.
pub(super) fn route(attachments: Vec<Attachment>) -> Option<Value> {
    if attachments.is_empty() {
        return None;
    }
    let parents = attachments.into_iter().map(|one| {
        json!({
            "parentRef": one.parent,
            "controllerName": CONTROLLER,
            "conditions": [
                condition("Accepted", "Accepted", &one.accepted),
                condition("ResolvedRefs", "ResolvedRefs", &one.resolved),
            ],
        })
    });
    Some(json!({"parents": parents.collect::<Vec<_>>()}))
}

/// A Gateway with its listeners.
pub(super) fn gateway(
    gateway: &KubernetesGateway,
    listeners: &[BoundListener<'_>],
    world: &World<'_>,
) -> Value {
    let invalid = listeners.iter().filter(|one| !one.is_in_force()).count();
    let accepted = match invalid {
        0 => Ok(()),
        _ if invalid < listeners.len() => Ok(()),
        _ => Err(("ListenersNotValid", "no listener is valid".to_owned())),
    };
    let address = address(gateway, world);
    let programmed = match (&accepted, &address) {
        (Err(_), _) => Err(("Invalid", "no listener is valid".to_owned())),
        (Ok(()), Err(missing)) => Err(missing.clone()),
        (Ok(()), Ok(_)) => Ok(()),
    };
    let addresses: Vec<Value> = address
        .iter()
        .map(|value| json!({"type": "Hostname", "value": value}))
        .collect();
    json!({
        "conditions": [
            condition("Accepted", if invalid > 0 { "ListenersNotValid" } else { "Accepted" }, &accepted),
            condition("Programmed", "Programmed", &programmed),
        ],
        "addresses": addresses,
        "listeners": listeners.iter().map(listener).collect::<Vec<_>>(),
    })
}

/// The Service through which the Gateway is reached.
fn address(gateway: &KubernetesGateway, world: &World<'_>) -> Result<String, Reason> {
    let namespace = gateway.meta.namespace();
    let key = match gateway.addresses.first() {
        Some(address) => service_key(address, namespace),
        None => own_service(gateway),
    };
    match world.service(&key) {
        Some(service) => Ok(service.hostname.as_str().to_owned()),
        None => Err(("AddressNotAssigned", format!("{key} does not exist"))),
    }
}

fn listener(one: &BoundListener<'_>) -> Value {
    let programmed = match one.is_in_force() {
        true => Ok(()),
        false => Err(("Invalid", "the listener is not valid".to_owned())),
    };
    let accepted = match one.conflict {
        Some(reason) => Err((reason, "another listener has the port".to_owned())),
        None => one.accepted.clone(),
    };
    let kinds = one.at.listener.kinds.iter();
    let kinds: Vec<Value> = kinds
        .map(|kind| json!({"group": GROUP, "kind": kind}))
        .collect();
    json!({
        "name": &*one.at.listener.name,
        "attachedRoutes": one.attached,
        "supportedKinds": kinds,
        "conditions": [
            condition("Accepted", "Accepted", &accepted),
            condition("Programmed", "Programmed", &programmed),
            condition("ResolvedRefs", "ResolvedRefs", &one.references()),
            conflicted(one.conflict),
        ],
    })
}

/// True is the bad state here.
fn conflicted(conflict: Option<&str>) -> Value {
    let (status, reason) = match conflict {
        Some(reason) => ("True", reason),
        None => ("False", "NoConflicts"),
    };
    json!({"type": "Conflicted", "status": status, "reason": reason, "message": ""})
}

fn condition(name: &str, reason: &str, state: &Result<(), Reason>) -> Value {
    match state {
        Ok(()) => json!({"type": name, "status": "True", "reason": reason, "message": ""}),
        Err((reason, message)) => {
            json!({"type": name, "status": "False", "reason": reason, "message": message})
        }
    }
}
