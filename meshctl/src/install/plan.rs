//! Which releases make a mesh, and their values.
//!
//! What a user sets belongs to the control plane's chart, except what stands under `gateway`: that is for the chart
//! of the gateway.

use std::{ffi::OsString, fs, path::PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;
use injector::values::{self, Values};
use serde_json::Value;

use super::{
    charts::Charts,
    helm::{Helm, KUBE_VERSION},
};
use crate::mesh_config;

/// Release of the definitions.
pub const BASE: &str = "istio-base";

/// Release of the gateway.
pub const GATEWAY: &str = "istio-ingressgateway";

/// The key under which the gateway's values stand.
const GATEWAY_KEY: &str = "gateway";

/// What is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Profile {
    /// Control plane and ingress gateway.
    #[default]
    Default,
    /// The control plane alone.
    Minimal,
}

/// The arguments that decide about releases.
#[derive(Debug, Clone, clap::Args)]
pub struct PlanArgs {
    /// What to install
    #[arg(long, value_enum, default_value_t)]
    pub profile: Profile,
    /// Leave the gateway alone
    #[arg(long)]
    pub skip_gateway: bool,
    /// A value of the control plane's chart; gateway.KEY=VALUE is one of the gateway's
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// A file of such values; those under "gateway" are the gateway's
    #[arg(short = 'f', long, value_name = "FILE")]
    pub values: Vec<PathBuf>,
    /// Revision of the control plane
    #[arg(long, value_name = "NAME", default_value = "", value_parser = revision)]
    pub revision: String,
}

/// A release to install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Its name.
    pub name: String,
    /// The chart's directory.
    pub chart: PathBuf,
    /// `--set` and `--values` for Helm.
    pub values: Vec<OsString>,
}

/// Releases in the order of their installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The definitions.
    pub base: Release,
    /// The control plane.
    pub control_plane: Release,
    /// The gateway, if one is wanted.
    pub gateway: Option<Release>,
}

impl PlanArgs {
    /// The releases, with their values in files beside the charts.
    pub fn plan(&self, charts: &Charts) -> Result<Plan> {
        let (mut own, mut gateway) = (Vec::new(), Vec::new());
        for (position, file) in self.values.iter().enumerate() {
            let text = fs::read_to_string(file)
                .with_context(|| format!("cannot read \"{}\"", file.display()))?;
            let values = serde_saphyr::from_str(&text)
                .with_context(|| format!("\"{}\" is not YAML", file.display()))?;
            let (control_plane, of_gateway) = split(values);
            for (values, name, args) in [
                (control_plane, "control-plane", &mut own),
                (of_gateway, GATEWAY_KEY, &mut gateway),
            ] {
                let file = charts.dir().join(format!("{name}-{position}.json"));
                fs::write(&file, values.to_string())?;
                args.extend(["--values".into(), OsString::from(file)]);
            }
        }
        let prefix = format!("{GATEWAY_KEY}.");
        for set in &self.set {
            match set.strip_prefix(&prefix) {
                Some(set) => gateway.extend(["--set".into(), OsString::from(set)]),
                None => own.extend(["--set".into(), OsString::from(set)]),
            }
        }
        if !self.revision.is_empty() {
            own.extend(["--set".into(), format!("revision={}", self.revision).into()]);
        }
        let release = |name: &str, chart: &str, values| Release {
            name: name.to_owned(),
            chart: charts.dir().join(chart),
            values,
        };
        let wants_gateway = !self.skip_gateway && self.profile == Profile::Default;
        Ok(Plan {
            base: release(BASE, "base", Vec::new()),
            control_plane: release(&control_plane(&self.revision), "control-plane", own),
            gateway: wants_gateway.then(|| release(GATEWAY, "gateway", gateway)),
        })
    }
}

impl Plan {
    /// Renders everything once, so that wrong values are refused before anything is changed: by the charts' schemas,
    /// and by the control plane's own rules for its settings.
    pub async fn check(&self, helm: &Helm) -> Result<()> {
        for release in self.releases() {
            let manifests = release.render(helm).await?;
            if *release == self.control_plane {
                check_settings(&manifests)?;
            }
        }
        Ok(())
    }

    /// The releases in order.
    pub fn releases(&self) -> impl Iterator<Item = &Release> {
        [
            Some(&self.base),
            Some(&self.control_plane),
            self.gateway.as_ref(),
        ]
        .into_iter()
        .flatten()
    }
}

impl Release {
    /// Installs or upgrades it; `more` are further arguments for Helm.
    pub async fn apply(&self, helm: &Helm, more: &[&str]) -> Result<()> {
        let mut args: Vec<OsString> = vec!["upgrade".into(), "--install".into()];
        args.extend([
            OsString::from(&self.name),
            self.chart.clone().into_os_string(),
        ]);
        args.extend(more.iter().map(OsString::from));
        args.extend(self.values.iter().cloned());
        helm.run(&args).await?;
        Ok(())
    }

    /// Its manifests, without asking a cluster.
    pub async fn render(&self, helm: &Helm) -> Result<String> {
        let mut args: Vec<OsString> = vec![
            "template".into(),
            "--include-crds".into(),
            KUBE_VERSION.into(),
        ];
        args.extend([
            OsString::from(&self.name),
            self.chart.clone().into_os_string(),
        ]);
        args.extend(self.values.iter().cloned());
        let rendered = helm.run(&args).await;
        rendered.with_context(|| format!("release \"{}\"", self.name))
    }
}

/// The release, and the deployment, of a control plane.
pub fn control_plane(revision: &str) -> String {
    match revision {
        "" | "default" => "istiod".to_owned(),
        revision => format!("istiod-{revision}"),
    }
}

/// Refuses settings that the control plane would refuse: the mesh's and the injector's.
fn check_settings(manifests: &str) -> Result<()> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(manifests)?;
    let maps = documents
        .iter()
        .filter(|document| document["kind"] == "ConfigMap")
        .map(|document| &document["data"]);
    for data in maps {
        if let Some(mesh) = data[mesh_config::KEY].as_str() {
            mesh_config::check(mesh, "meshConfig")?;
        }
        if let Some(injector) = data[values::VALUES].as_str() {
            let config = data[values::CONFIG].as_str();
            Values::parse(Some(injector), config).context("sidecarInjectorWebhook")?;
        }
    }
    Ok(())
}

/// The control plane's values, and the gateway's.
fn split(mut values: Value) -> (Value, Value) {
    let empty = || Value::Object(serde_json::Map::new());
    if values.is_null() {
        values = empty();
    }
    let gateway = values
        .as_object_mut()
        .and_then(|values| values.remove(GATEWAY_KEY));
    (values, gateway.unwrap_or_else(empty))
}

/// A revision is part of names and the value of a label.
pub fn revision(text: &str) -> Result<String, String> {
    let is_legible = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = text.len() <= 56
        && text.bytes().all(is_legible)
        && !text.starts_with('-')
        && !text.ends_with('-');
    match text {
        "default" => Ok(String::new()),
        _ if is_label => Ok(text.to_owned()),
        _ => Err("a revision is made of lower-case letters, digits and '-'".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn args() -> PlanArgs {
        PlanArgs {
            profile: Profile::Default,
            skip_gateway: false,
            set: vec![
                "autoscaleMin=2".into(),
                "gateway.service.type=NodePort".into(),
            ],
            values: Vec::new(),
            revision: "canary".into(),
        }
    }

    #[test]
    fn values_go_to_the_chart_they_belong_to() {
        let charts = Charts::unpack().unwrap();
        let plan = args().plan(&charts).unwrap();
        assert_eq!(plan.control_plane.name, "istiod-canary");
        let own = ["--set", "autoscaleMin=2", "--set", "revision=canary"].map(OsString::from);
        assert_eq!(plan.control_plane.values, own);
        let gateway = ["--set", "service.type=NodePort"].map(OsString::from);
        assert_eq!(plan.gateway.unwrap().values, gateway);
        let (own, gateway) = split(json!({"a": 1, "gateway": {"b": 2}}));
        assert_eq!((own, gateway), (json!({"a": 1}), json!({"b": 2})));
    }

    #[test]
    fn the_gateway_is_left_out() {
        let charts = Charts::unpack().unwrap();
        let skipped = PlanArgs {
            skip_gateway: true,
            ..args()
        };
        let minimal = PlanArgs {
            profile: Profile::Minimal,
            ..args()
        };
        for args in [skipped, minimal] {
            assert_eq!(args.plan(&charts).unwrap().gateway, None);
        }
    }

    #[test]
    fn settings_that_the_control_plane_would_refuse_are_refused() {
        let settings = |data: Value| {
            let other = json!({"apiVersion": "v1", "kind": "ServiceAccount"});
            let map = json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "istio-canary", "namespace": "mesh"},
                "data": data,
            });
            let rendered = check_settings(&format!("---\n{other}\n---\n{map}\n"));
            rendered.map_err(|error| format!("{error:#}"))
        };
        let mesh = |mesh: &str| settings(json!({"mesh": mesh}));
        assert_eq!(mesh("accessLogFile: /dev/stdout"), Ok(()));
        let refused = "meshConfig.accesLogFile: unknown field \"accesLogFile\" (did you mean \"accessLogFile\"?)";
        assert_eq!(mesh("accesLogFile: a"), Err(refused.to_owned()));
        let template = |template: &str| {
            let values = json!({"sidecarInjectorWebhook": {"templates": {"own": template}}});
            settings(json!({"values": values.to_string(), "config": "policy: enabled"}))
        };
        assert_eq!(template("spec: {}"), Ok(()));
        let refused = "sidecarInjectorWebhook: the templates cannot be used: template: own:2: there is no function \
                       \"env\"";
        assert_eq!(template("spec:\n  x: {{ env }}"), Err(refused.to_owned()));
    }

    #[test]
    fn revisions_are_labels() {
        assert_eq!(revision("default"), Ok(String::new()));
        assert_eq!(revision("1-27-3"), Ok("1-27-3".to_owned()));
        assert!(revision("1.27").is_err());
    }
}
