//! Listeners: warm until their routes and secrets are there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use xds::type_url::ResourceType;

use super::{Applier, INITIAL_FETCH_TIMEOUT, ListenerState, Received, Warming};
use crate::config::RouteTableId;
use crate::config::error::ConfigError;
use crate::config::filter_chain::{FilterChain, Terminal};
use crate::config::http::RouteSource;
use crate::config::listener::Listener;
use crate::target::{Built, Target};

impl<T: Target> Applier<T> {
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
        let newest = state.and_then(ListenerState::newest);
        if newest.is_some_and(|newest| newest.config.source.bytes == resource.bytes) {
            return Ok(());
        }
        let previous = newest.cloned();
        let proto = resource.decode()?;
        let translate = self.translators.listener;
        let mut context = self.context(resource);
        context.previous_listener = previous.as_ref().map(|previous| previous.config.clone());
        let mut listener = translate(&proto, &mut context)?;
        listener.name = resource.name.clone();
        let config = Arc::new(listener);
        let previous = previous.as_ref().map(|previous| &*previous.live);
        let live = Arc::new(self.target.build_listener(&config, previous)?);
        let state = self.listeners.entry(resource.name.clone()).or_default();
        state.is_static = is_static;
        state.warming = Some(Warming::new(
            Built { config, live },
            now + INITIAL_FETCH_TIMEOUT,
        ));
        Ok(())
    }

    pub(super) fn remove_listener(&mut self, name: &str) {
        if self.listeners.get(name).is_none_or(|state| state.is_static) {
            return;
        }
        self.listeners.remove(name);
        // The order of the others is the order in which they were added.
        if let Some((name, _)) = self.config.listeners.shift_remove_entry(name) {
            self.target.set_listener(&name, None);
            self.dirty = true;
        }
    }

    pub(super) fn warm_listeners(&mut self, now: Instant) {
        let ready: Vec<Built<Listener, T::Listener>> = self
            .listeners
            .values()
            .filter_map(|state| {
                let warming = state.warming.as_ref()?;
                let complete = self.is_listener_complete(&warming.next);
                warming.is_over(complete, now).then(|| warming.next.clone())
            })
            .collect();
        for listener in ready {
            let name = listener.config.name.clone();
            self.target.set_listener(&name, Some(&listener.live));
            self.config
                .listeners
                .insert(name.clone(), listener.config.clone());
            if let Some(state) = self.listeners.get_mut(&name) {
                state.warming = None;
                state.active = Some(listener);
            }
            self.dirty = true;
        }
    }

    fn is_listener_complete(&self, listener: &Built<Listener, T::Listener>) -> bool {
        self.target.is_listener_ready(&listener.live)
            && route_tables(&listener.config).all(|id| {
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
            .chain(warming.map(|warming| &warming.next.config));
        listeners
            .flat_map(|listener| route_tables(listener))
            .filter_map(|id| self.names.route_table_name(id).cloned())
            .collect()
    }
}

impl<L> ListenerState<L> {
    /// The version that was received last.
    fn newest(&self) -> Option<&Built<Listener, L>> {
        let warming = self.warming.as_ref().map(|warming| &warming.next);
        warming.or(self.active.as_ref())
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
