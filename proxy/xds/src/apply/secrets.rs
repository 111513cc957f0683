//! Secrets that come over ADS or stand in the bootstrap; those of the agent never pass here.

use super::{Applier, Received};
use crate::config::error::ConfigError;
use crate::target::{SecretOrigin, Target};
use crate::tls::secret;

impl<T: Target> Applier<T> {
    pub(super) fn apply_secret(
        &mut self,
        resource: &Received,
        is_static: bool,
    ) -> Result<(), ConfigError> {
        let secret = secret::secret(&resource.decode()?)?;
        let origin = match is_static {
            true => SecretOrigin::Static,
            false => SecretOrigin::Ads(resource.version.clone()),
        };
        self.target.set_secret(&resource.name, &secret, origin)
    }
}
