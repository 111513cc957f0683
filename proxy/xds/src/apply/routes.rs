//! Route configurations, each in the slot of its name.

use std::collections::BTreeSet;
use std::sync::Arc;

use xds::type_url::ResourceType;

use super::{Applier, Received, slot};
use crate::config::error::ConfigError;
use crate::target::Target;

impl<T: Target> Applier<T> {
    pub(super) fn apply_route(&mut self, resource: &Received) -> Result<(), ConfigError> {
        let id = self.names.route_table(&resource.name);
        let known = self.route_sources.get(&resource.name);
        if known.is_some_and(|known| *known == resource.bytes) {
            return Ok(());
        }
        let proto = resource.decode()?;
        let translate = self.translators.route;
        let routes = translate(&proto, &mut self.context(resource))?;
        let routes = Arc::new(routes);
        self.target.set_routes(id, Some(&routes));
        *slot(&mut self.config.routes, id.0) = Some(routes);
        self.route_sources
            .insert(resource.name.clone(), resource.bytes.clone());
        self.dirty = true;
        Ok(())
    }

    pub(super) fn remove_route(&mut self, name: &str) {
        let name: Arc<str> = name.into();
        self.drop_route(&name);
        self.absent.insert((ResourceType::Route, name));
    }

    pub(super) fn forget_routes(&mut self, wanted: &BTreeSet<Arc<str>>) {
        let unwanted = self
            .route_sources
            .keys()
            .filter(|name| !wanted.contains(*name));
        let unwanted: Vec<Arc<str>> = unwanted.cloned().collect();
        for name in unwanted {
            self.drop_route(&name);
        }
    }

    fn drop_route(&mut self, name: &Arc<str>) {
        if self.route_sources.remove(name).is_some() {
            let id = self.names.route_table(name);
            self.target.set_routes(id, None);
            *slot(&mut self.config.routes, id.0) = None;
            self.dirty = true;
        }
    }
}
