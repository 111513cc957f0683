//! The definitions of Istio's kinds in a cluster: ours, or those that somebody else installed.

use anyhow::{Context, Result};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};

use super::{FIELD_MANAGER, charts};

/// The label that our definitions carry.
const PART_OF: &str = "app.kubernetes.io/part-of";

/// A definition that should be there, and what is there.
#[derive(Debug)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// The one in the cluster.
    pub state: State,
}

/// What the cluster has of a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Missing,
    /// One of ours.
    Ours,
    /// One of somebody else, with every version that ours has.
    Foreign,
    /// One of somebody else that lacks versions.
    Incomplete,
}

/// The definitions of this program.
pub fn ours() -> Result<Vec<CustomResourceDefinition>> {
    let parse = |text: &str| serde_saphyr::from_str(text).context("an embedded definition");
    charts::definitions().map(parse).collect()
}

/// Looks for each definition.
pub async fn find(client: &Client) -> Result<Vec<Found>> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let present = api.list(&Default::default()).await;
    let present = present.context("the definitions cannot be listed")?.items;
    let found = |wanted: CustomResourceDefinition| {
        let name = wanted.name_any();
        let there = present.iter().find(|one| one.name_any() == name);
        let state = there.map_or(State::Missing, |there| compare(&wanted, there));
        Found { name, state }
    };
    Ok(ours()?.into_iter().map(found).collect())
}

fn compare(wanted: &CustomResourceDefinition, there: &CustomResourceDefinition) -> State {
    let serves = |name: &str| {
        let mut versions = there.spec.versions.iter();
        versions.any(|version| version.name == name && version.served)
    };
    if there
        .labels()
        .get(PART_OF)
        .is_some_and(|value| value == "weft")
    {
        return State::Ours;
    }
    match wanted
        .spec
        .versions
        .iter()
        .all(|version| serves(&version.name))
    {
        true => State::Foreign,
        false => State::Incomplete,
    }
}

/// Applies those that are missing or ours; those of others stay as they are. Returns how many.
pub async fn apply(client: &Client) -> Result<usize> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let found = find(client).await?;
    let foreign = |name: &str| {
        let mut found = found.iter();
        found.any(|one| one.name == name && matches!(one.state, State::Foreign | State::Incomplete))
    };
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let mut applied = 0;
    for definition in ours()? {
        let name = definition.name_any();
        if foreign(&name) {
            continue;
        }
        let patched = api.patch(&name, &params, &Patch::Apply(&definition)).await;
        patched.with_context(|| format!("definition \"{name}\" cannot be applied"))?;
        applied += 1;
    }
    Ok(applied)
}

/// Deletes ours, and every object of their kinds with them. Returns their names; each is gone when its objects are.
pub async fn delete(client: &Client) -> Result<Vec<String>> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let ours = find(client).await?;
    let ours = ours.iter().filter(|found| found.state == State::Ours);
    let mut deleted = Vec::new();
    for found in ours {
        let result = api.delete(&found.name, &DeleteParams::default()).await;
        result.with_context(|| format!("definition \"{}\" cannot be deleted", found.name))?;
        deleted.push(found.name.clone());
    }
    Ok(deleted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_of_others_are_told_apart() {
        let ours = ours().unwrap();
        let wanted = ours
            .iter()
            .find(|one| one.spec.versions.len() == 3)
            .unwrap();
        assert_eq!(compare(wanted, wanted), State::Ours);
        let mut foreign = wanted.clone();
        foreign.metadata.labels = None;
        assert_eq!(compare(wanted, &foreign), State::Foreign);
        foreign.spec.versions.pop();
        assert_eq!(compare(wanted, &foreign), State::Incomplete);
    }
}
