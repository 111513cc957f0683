//! RBAC as executed (`envoy.config.rbac.v3.RBAC`): shared by the HTTP and the network filter.

/// One RBAC filter: enforced rules and shadow rules, compiled.
#[derive(Debug)]
pub struct Rbac {
    /// `stat_prefix`, also in shadow metadata.
    pub stat_prefix: Box<str>,
}
