//! What can be typed.

use clap::{Parser, Subcommand};

use crate::commands::{
    analyze, inject, install, local, precheck, proxy_config, proxy_status, tag, uninstall, upgrade,
    validate, verify_install,
};

/// Runs, inspects and checks a Weft mesh.
#[derive(Debug, Parser)]
#[command(name = "meshctl", version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a mesh on this machine, without Kubernetes
    Local(local::Args),
    /// Show which proxies are connected, and whether they have their configuration
    #[command(visible_alias = "ps")]
    ProxyStatus(proxy_status::Args),
    /// Show the configuration of a proxy
    #[command(visible_alias = "pc")]
    ProxyConfig(proxy_config::Args),
    /// Check manifests by themselves
    Validate(validate::Args),
    /// Check manifests, or the objects of a running mesh, against each other
    Analyze(analyze::Args),
    /// Add sidecars to manifests
    Inject(inject::Args),
    /// Install the mesh in a Kubernetes cluster
    Install(install::Args),
    /// Remove the mesh from a Kubernetes cluster
    Uninstall(uninstall::Args),
    /// Upgrade the mesh in a Kubernetes cluster, in place or by revision
    Upgrade(upgrade::Args),
    /// Give revisions further names
    Tag(tag::Args),
    /// Check whether a cluster is fit for the mesh
    Precheck(precheck::Args),
    /// Check whether everything that was installed works
    VerifyInstall(verify_install::Args),
    /// Print the version
    Version,
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
