//! Secrets that come over ADS or stand in the bootstrap; those of the agent never pass here.

use super::{Applier, Received, SecretRef};
use crate::error::ConfigError;
use crate::tls::secret::Secret;

impl Applier {
    pub(super) fn apply_secret(
        &mut self,
        resource: &Received,
        is_static: bool,
    ) -> Result<(), ConfigError> {
        let secret = Secret::from_proto(&resource.decode()?)?;
        if is_static {
            self.secrets.set_static(&resource.name, secret);
        } else {
            let name = SecretRef {
                name: resource.name.clone(),
                from_agent: false,
            };
            self.secrets.set(name, secret, resource.version.clone());
        }
        Ok(())
    }
}
