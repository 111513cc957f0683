//! What was built: version and commit, shown by `/version` and as the metric `istio_build`.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::metrics::Registry;

/// The version of the workspace.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit, where the build was told (`WEFT_GIT_COMMIT` at compile time).
pub const COMMIT: Option<&str> = option_env!("WEFT_GIT_COMMIT");

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    component: &'static str,
    tag: &'static str,
}

/// One line for people: version and, if known, commit.
pub fn describe() -> String {
    match COMMIT {
        Some(commit) => format!("{VERSION} ({commit})\n"),
        None => format!("{VERSION}\n"),
    }
}

/// Registers `istio_build{component, tag} 1`, the series that dashboards count versions by.
pub fn register(registry: &mut Registry, component: &'static str) {
    let build = Family::<BuildLabels, Gauge>::default();
    build
        .get_or_create(&BuildLabels {
            component,
            tag: VERSION,
        })
        .set(1);
    registry.register("istio_build", "Version of this component", build);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_a_series() {
        let mut registry = Registry::default();
        register(&mut registry, "pilot");
        let text = crate::metrics::encode(&registry);
        let line = format!("istio_build{{component=\"pilot\",tag=\"{VERSION}\"}} 1\n");
        assert!(text.contains(&line), "{text}");
    }
}
