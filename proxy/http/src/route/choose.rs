//! Finds the route of a request, and notes it: before the filters, and again when one of them asks for it.

use http::StatusCode;
use http::header::{HeaderValue, LOCATION};

use super::{Found, Table};
use crate::filter::ReplyOrigin;
use crate::filter::run::Answered;
use crate::local_reply::{LocalReply, Shape};
use crate::stream::{RequestHead, Stream};
use crate::telemetry::stream_info::ResponseFlags;
use crate::upgrade;

/// Finds the route of a request that begins. It says which filters work for the stream.
///
/// # Errors
/// When the request is answered in place of being routed.
pub fn first(stream: &mut Stream, table: Table, head: &RequestHead) -> Result<(), Box<LocalReply>> {
    choose(stream, table, head)?;
    if let Some(route) = &stream.route {
        stream.filters.enable(route.overrides());
    }
    check_upgrade(stream, head)
}

/// Finds the route again, after the head has changed.
///
/// # Errors
/// When the request is answered in place of being routed.
pub fn again(stream: &mut Stream, head: &RequestHead) -> Result<(), Answered> {
    let table = Table::of(&stream.connection, &stream.view);
    stream.route = None;
    let chosen = choose(stream, table, head).and_then(|()| check_upgrade(stream, head));
    chosen.map_err(|reply| Answered {
        origin: ReplyOrigin::Connection,
        reply,
    })
}

fn choose(stream: &mut Stream, table: Table, head: &RequestHead) -> Result<(), Box<LocalReply>> {
    let metadata = &stream.info.dynamic_metadata;
    let route = match super::find(table, &stream.connection, head, stream.internal, metadata) {
        Found::Route(route) => Some(route),
        Found::RedirectToHttps => return Err(Box::new(redirect_to_https(head))),
        Found::None => None,
    };
    let info = &mut stream.info;
    let name = route.as_ref().map(|route| route.route().name.clone());
    info.route_name = name.filter(|name| !name.is_empty());
    info.cluster = route.as_ref().and_then(|route| route.cluster_id());
    let cluster = info.cluster.and_then(|id| stream.view.cluster(id));
    info.cluster_name = cluster.map(|cluster| cluster.name.clone());
    stream.route = route;
    Ok(())
}

fn redirect_to_https(head: &RequestHead) -> LocalReply {
    let authority = String::from_utf8_lossy(head.authority());
    let location = format!("https://{authority}{}", head.path);
    let flags = ResponseFlags::default();
    let reply = LocalReply::empty(StatusCode::MOVED_PERMANENTLY, "direct_response", flags);
    let reply = reply.shaped(Shape::Plain);
    match HeaderValue::from_str(&location) {
        Ok(location) => reply.with_header(LOCATION, location),
        Err(_) => reply,
    }
}

fn check_upgrade(stream: &Stream, head: &RequestHead) -> Result<(), Box<LocalReply>> {
    match &head.upgrade {
        Some(kind) if !upgrade::is_allowed(stream, kind) => {
            let flags = ResponseFlags::default();
            let reply = LocalReply::empty(StatusCode::FORBIDDEN, "upgrade_failed", flags);
            Err(Box::new(reply.closing()))
        }
        _ => Ok(()),
    }
}
