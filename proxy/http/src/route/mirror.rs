//! Copies of requests sent elsewhere; their responses are read and forgotten.

use std::rc::Rc;

use http::header::{HOST, HeaderValue};
use http_body_util::BodyExt;

use super::super::attempt::Target;
use super::super::body::RequestBody;
use super::super::client;
use crate::config::ClusterId;
use crate::config::cluster::RoutingPriority;
use crate::config::route::Mirror;
use crate::stream::{RequestHead, Stream};
use crate::telemetry::stream_info::StreamInfo;
use crate::upstream::PickContext;
use crate::upstream::worker::{View, Worker};

/// The mirrors that were drawn for a request.
pub fn drawn(mirrors: &[Mirror]) -> impl Iterator<Item = &Mirror> {
    mirrors.iter().filter(|mirror| mirror.fraction.draw())
}

/// Sends a copy of a request; does not wait for it.
pub fn send(mirror: &Mirror, stream: &Stream, head: &RequestHead, body: RequestBody) {
    let mut head = head.copy();
    if mirror.shadow_suffix {
        add_suffix(&mut head);
    }
    let info = StreamInfo::new(stream.info.connection.clone());
    let copy = copy(
        stream.worker().worker.clone(),
        stream.view.clone(),
        mirror.cluster.id,
        head,
        body,
        info,
    );
    tokio::task::spawn_local(copy);
}

async fn copy(
    worker: Rc<Worker>,
    view: View,
    cluster: ClusterId,
    head: RequestHead,
    body: RequestBody,
    mut info: StreamInfo,
) {
    let Some(cluster) = worker.upstreams.get(&worker, &view, cluster) else {
        return;
    };
    let Ok(host) = cluster.pick(&PickContext::default()) else {
        return;
    };
    let target = Target {
        cluster: &cluster,
        host: &host,
        priority: RoutingPriority::Default,
    };
    let Ok((mut response, mut sender)) = client::send(target, head, &mut info, body).await else {
        return;
    };
    // Reading the body to its end lets the connection be used again; hyper waits for the end of the copy.
    loop {
        match response.body_mut().frame().await {
            Some(Ok(_)) => {}
            Some(Err(_)) => return,
            None => return sender.finish(),
        }
    }
}

/// `host:port` becomes `host-shadow:port`.
fn add_suffix(head: &mut RequestHead) {
    let Ok(authority) = std::str::from_utf8(head.authority()) else {
        return;
    };
    let host = super::matcher::without_port(authority);
    let shadow = format!("{host}-shadow{}", &authority[host.len()..]);
    if let Ok(shadow) = HeaderValue::from_str(&shadow) {
        head.headers.insert(HOST, shadow);
    }
}
