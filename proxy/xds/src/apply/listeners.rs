//! Listeners: warm until their routes and secrets are there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use xds::type_url::ResourceType;

use super::{Applier, INITIAL_FETCH_TIMEOUT, Received, Warming};
use crate::config::RouteTableId;
use crate::config::filter_chain::{FilterChain, Terminal};
use crate::config::http::RouteSource;
use crate::config::listener::Listener;
use crate::error::ConfigError;

impl Applier {
    pub(super) fn apply_listener(
        &mut self,
        resource: &Received,
        is_static: bool,
        now: Instant,
    ) -> Result<(), ConfigError> {
        let state = self.listeners.get(&resource.name);
        if state.is_some_and(|state| state.is_static) && !is_static {
            return Ok(());
        }
        let warming = state
            .and_then(|state| state.warming.as_ref())
            .map(|warming| &warming.next);
        let newest = warming.or_else(|| self.config.listeners.get(&resource.name));
        if newest.is_some_and(|newest| newest.source.bytes == resource.bytes) {
            return Ok(());
        }
        let previous_listener = newest.cloned();
        let proto = resource.decode()?;
        let translate = self.translators.listener;
        let mut context = self.context(resource);
        context.previous_listener = previous_listener;
        let mut listener = translate(&proto, &mut context)?;
        listener.name = resource.name.clone();
        let state = self.listeners.entry(resource.name.clone()).or_default();
        state.is_static = is_static;
        state.warming = Some(Warming::new(listener, now + INITIAL_FETCH_TIMEOUT));
        Ok(())
    }

    pub(super) fn remove_listener(&mut self, name: &str) {
        if self.listeners.get(name).is_none_or(|state| state.is_static) {
            return;
        }
        self.listeners.remove(name);
        // The order of the others is the order in which they were added.
        self.dirty |= self.config.listeners.shift_remove(name).is_some();
    }

    pub(super) fn warm_listeners(&mut self, now: Instant) {
        let ready: Vec<Arc<Listener>> = self
            .listeners
            .values()
            .filter_map(|state| {
                let warming = state.warming.as_ref()?;
                let complete = self.is_listener_complete(&warming.next);
                warming.is_over(complete, now).then(|| warming.next.clone())
            })
            .collect();
        for listener in ready {
            if let Some(state) = self.listeners.get_mut(&listener.name) {
                state.warming = None;
            }
            self.config
                .listeners
                .insert(listener.name.clone(), listener);
            self.dirty = true;
        }
    }

    fn is_listener_complete(&self, listener: &Listener) -> bool {
        let has_secrets =
            chains(listener).all(|chain| chain.tls.as_ref().is_none_or(|tls| tls.ready()));
        has_secrets
            && route_tables(listener).all(|id| {
                let absent = self
                    .names
                    .route_table_name(id)
                    .is_some_and(|name| self.absent.contains(&(ResourceType::Route, name.clone())));
                absent || self.config.route_config(id).is_some()
            })
    }

    pub(super) fn wanted_routes(&self) -> BTreeSet<Arc<str>> {
        let warming = self
            .listeners
            .values()
            .filter_map(|state| state.warming.as_ref());
        let listeners = self
            .config
            .listeners
            .values()
            .chain(warming.map(|warming| &warming.next));
        listeners
            .flat_map(|listener| route_tables(listener))
            .filter_map(|id| self.names.route_table_name(id).cloned())
            .collect()
    }
}

fn chains(listener: &Listener) -> impl Iterator<Item = &FilterChain> {
    listener
        .filter_chains
        .iter()
        .chain(&listener.default_filter_chain)
        .map(|chain| &**chain)
}

fn route_tables(listener: &Listener) -> impl Iterator<Item = RouteTableId> {
    chains(listener).filter_map(|chain| match &chain.terminal {
        Terminal::Http(hcm) => match &hcm.routes {
            RouteSource::Rds(id) => Some(*id),
            RouteSource::Inline(_) => None,
        },
        _ => None,
    })
}
