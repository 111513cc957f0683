//! Whether a cluster is fit for an installation. Nothing is changed.

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::{definitions, helm::Helm, permissions};
use crate::install::definitions::State;

/// The oldest Kubernetes that is supported (minor version of 1).
const MINOR_MIN: u32 = 29;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// How it is.
    pub verdict: Verdict,
    /// In words.
    pub text: String,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// To be known, no obstacle.
    Notice,
    /// An obstacle.
    Bad,
}

impl Check {
    /// As it should be.
    pub fn good(text: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Good,
            text: text.into(),
        }
    }

    /// To be known.
    pub fn notice(text: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Notice,
            text: text.into(),
        }
    }

    /// An obstacle.
    pub fn bad(text: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Bad,
            text: text.into(),
        }
    }
}

/// Looks at everything; an error only where the API server cannot be reached.
pub async fn run(client: &Client, helm: &Helm, namespace: &str) -> Result<Vec<Check>> {
    let mut checks = vec![version(client).await?];
    checks.push(match helm.check().await {
        Ok(()) => Check::good("helm is there"),
        Err(error) => Check::bad(format!("{error:#}")),
    });
    checks.push(permissions(client, namespace).await?);
    let definitions = present(client).await;
    let control_planes = foreign_control_plane(client, namespace).await;
    for looked_at in [definitions, control_planes] {
        checks.extend(looked_at.unwrap_or_else(|error| vec![not_seen(&error)]));
    }
    Ok(checks)
}

/// What could not be looked at is an obstacle, and none to looking at the rest.
fn not_seen(error: &anyhow::Error) -> Check {
    match error.downcast_ref() {
        Some(kube::Error::Api(status)) => Check::bad(format!("{error}: {}", status.message)),
        _ => Check::bad(format!("{error:#}")),
    }
}

async fn version(client: &Client) -> Result<Check> {
    let version = client.apiserver_version().await;
    let version = version.context("the API server cannot be reached")?;
    let digits = |text: &str| {
        text.trim_end_matches(|c: char| !c.is_ascii_digit())
            .parse::<u32>()
    };
    let shown = &version.git_version;
    let is_old = digits(&version.major) == Ok(1)
        && digits(&version.minor).is_ok_and(|minor| minor < MINOR_MIN);
    Ok(match is_old {
        true => Check::bad(format!(
            "Kubernetes {shown} is too old: 1.{MINOR_MIN} or later is needed"
        )),
        false => Check::good(format!("Kubernetes {shown}")),
    })
}

async fn permissions(client: &Client, namespace: &str) -> Result<Check> {
    let missing = permissions::missing(client, namespace).await?;
    Ok(match missing.as_slice() {
        [] => Check::good("you may create everything that is needed"),
        missing => Check::bad(format!("you may not create {}", missing.join(", "))),
    })
}

async fn present(client: &Client) -> Result<Vec<Check>> {
    let found = definitions::find(client).await?;
    let count = |state| found.iter().filter(|one| one.state == state).count();
    let mut checks = Vec::new();
    for one in found.iter().filter(|one| one.state == State::Incomplete) {
        checks.push(Check::bad(format!(
            "definition \"{}\" of somebody else lacks versions that are needed: upgrade or delete it",
            one.name
        )));
    }
    match (count(State::Foreign), count(State::Ours)) {
        (0, 0) => checks.push(Check::good("no definitions of Istio's kinds are in the way")),
        (0, ours) => checks.push(Check::good(format!("{ours} definitions of an earlier installation"))),
        (foreign, _) => checks.push(Check::notice(format!(
            "{foreign} definitions of somebody else, such as Istio, are used as they are and not upgraded"
        ))),
    }
    Ok(checks)
}

/// Control planes that are not ours.
async fn foreign_control_plane(client: &Client, namespace: &str) -> Result<Vec<Check>> {
    let api: Api<Deployment> = Api::all(client.clone());
    let found = api.list(&ListParams::default().labels("app=istiod")).await;
    let found = found.context("deployments cannot be listed")?.items;
    let is_ours = |one: &Deployment| {
        let part_of = one.labels().get("app.kubernetes.io/part-of");
        part_of.is_some_and(|part_of| part_of == "weft")
    };
    let foreign = found.iter().filter(|one| !is_ours(one));
    let check = |one: &Deployment| {
        let (name, place) = (one.name_any(), one.namespace().unwrap_or_default());
        let text =
            format!("deployment \"{name}\" in namespace \"{place}\" is another control plane");
        match place == namespace {
            true => Check::bad(format!(
                "{text}: uninstall it, or install a revision of another name elsewhere"
            )),
            false => Check::notice(format!(
                "{text}: give this one a revision, so that both know their pods"
            )),
        }
    };
    Ok(foreign.map(check).collect())
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_api_servers_words() {
        let status = Status::failure("weak may not list them", "Forbidden").with_code(403);
        let refused = Err::<(), _>(kube::Error::Api(Box::new(status)));
        let error = refused
            .context("the definitions cannot be listed")
            .unwrap_err();
        let expected = "the definitions cannot be listed: weak may not list them";
        assert_eq!(not_seen(&error), Check::bad(expected));
    }
}
