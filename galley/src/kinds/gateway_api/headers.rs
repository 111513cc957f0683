//! Filters that change headers.

use mesh_api::route::headers::{HeaderEdit, HeaderOperations};

use super::wire::{WireFilter, WireHeader, WireHeaderModifier};

/// True if the filter is one of headers.
pub(super) fn header_filter(wire: &WireFilter, headers: &mut HeaderOperations) -> bool {
    let request = wire.request_header_modifier.as_ref();
    let response = wire.response_header_modifier.as_ref();
    if let Some(modifier) = request {
        headers.request = edit(modifier);
    }
    if let Some(modifier) = response {
        headers.response = edit(modifier);
    }
    request.is_some() || response.is_some()
}

fn edit(modifier: &WireHeaderModifier) -> HeaderEdit {
    let pairs = |list: &[WireHeader]| {
        list.iter()
            .map(|one| (one.name.as_str().into(), one.value.as_str().into()))
            .collect()
    };
    HeaderEdit {
        set: pairs(&modifier.set),
        add: pairs(&modifier.add),
        remove: modifier
            .remove
            .iter()
            .map(|name| name.as_str().into())
            .collect(),
    }
}
