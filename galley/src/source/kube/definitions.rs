//! Which kinds are installed, and in which versions the API server has them.

use std::collections::BTreeMap;

use ::kube::api::{Api, ApiResource};
use ::kube::runtime::watcher::{self, Event, watcher};
use ::kube::{Client, ResourceExt};
use futures_util::{StreamExt, pin_mut};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use tokio::sync::watch;

use super::pace::Pace;
use super::received::Definition;
use crate::kind::Kind;

/// Served versions by definition name (`PLURAL.GROUP`); nothing before the first
/// complete list.
pub(super) type Installed = Option<BTreeMap<String, Vec<String>>>;

/// Follows the CustomResourceDefinitions of our kinds.
#[derive(Debug)]
pub(super) struct Definitions {
    sender: watch::Sender<Installed>,
}

impl Default for Definitions {
    fn default() -> Self {
        Self {
            sender: watch::Sender::new(None),
        }
    }
}

impl Definitions {
    pub(super) fn subscribe(&self) -> watch::Receiver<Installed> {
        self.sender.subscribe()
    }

    /// Runs until dropped.
    pub(super) async fn follow(self, client: Client) {
        let resource = ApiResource::erase::<CustomResourceDefinition>(&());
        let api: Api<Definition> = Api::all_with(client, &resource);
        let events = watcher(api, watcher::Config::default());
        pin_mut!(events);
        let mut pace = Pace::default();
        let mut listing = BTreeMap::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listing.clear(),
                Ok(Event::InitApply(definition)) => {
                    listing.extend(served(&definition));
                }
                Ok(Event::InitDone) => self.publish(std::mem::take(&mut listing)),
                Ok(Event::Apply(definition)) => self.change(|installed| {
                    installed.remove(&definition.name_any());
                    installed.extend(served(&definition));
                }),
                Ok(Event::Delete(definition)) => self.change(|installed| {
                    installed.remove(&definition.name_any());
                }),
                Err(error) => {
                    pace.failure("CustomResourceDefinition", &error).await;
                    continue;
                }
            }
            pace.success();
        }
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Vec<String>>)) {
        let mut installed = self.sender.borrow().clone().unwrap_or_default();
        change(&mut installed);
        self.publish(installed);
    }

    fn publish(&self, installed: BTreeMap<String, Vec<String>>) {
        self.sender.send_if_modified(|current| {
            let modified = current.as_ref() != Some(&installed);
            *current = Some(installed);
            modified
        });
    }
}

/// The name and served versions of a definition of ours that is in force.
fn served(definition: &Definition) -> Option<(String, Vec<String>)> {
    let group = &definition.spec.group;
    if !Kind::watched().any(|kind| kind.group() == group) {
        return None;
    }
    let mut conditions = definition.status.conditions.iter().flatten();
    let established = conditions.any(|one| one.kind == "Established" && one.status == "True");
    let versions = definition.spec.versions.iter();
    let versions = versions.filter(|version| version.served);
    let names = versions.map(|version| version.name.clone()).collect();
    established.then(|| (definition.name_any(), names))
}

/// The version in which a kind is asked for, if it is installed: the newest that both
/// sides know. All of them have the same schema.
pub(super) fn version_of(kind: Kind, installed: &Installed) -> Option<&'static str> {
    let known = kind.versions();
    if !kind.needs_definition() {
        return known.first().copied();
    }
    let name = format!("{}.{}", kind.plural(), kind.group());
    let served = installed.as_ref()?.get(&name)?;
    let is_served = |version: &&&str| served.iter().any(|served| served == **version);
    known.iter().find(is_served).copied()
}
