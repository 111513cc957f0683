//! What the user opens: connections to a port on 127.0.0.1 outside go to the ingress gateway inside.
//!
//! The listening socket was made outside and inherited; sockets stay in the network namespace they
//! were made in, so accepting here and connecting here joins the two networks.

use std::{net::SocketAddrV4, sync::Arc, time::Duration};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    controller::View,
    manifest::ObjectKey,
    system::{INGRESS_GATEWAY, NAMESPACE},
};

/// How long a connection waits for a gateway that is still starting.
const GATEWAY_WAIT: Duration = Duration::from_secs(10);

/// Port of the gateway's Service for plain HTTP.
const HTTP_PORT: u16 = 80;

/// Forwards connections until dropped.
pub async fn serve(listener: TcpListener, view: watch::Receiver<Arc<View>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => { connections.spawn(forward(stream, view.clone())); }
                // Out of file descriptors, most likely: accepting again at once would spin.
                Err(_) => sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn forward(mut outside: TcpStream, view: watch::Receiver<Arc<View>>) {
    let deadline = Instant::now() + GATEWAY_WAIT;
    let mut inside = loop {
        let gateway = gateway(&view.borrow());
        if let Some(address) = gateway
            && let Ok(stream) = TcpStream::connect(address).await
        {
            break stream;
        }
        if Instant::now() > deadline {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    };
    for stream in [&outside, &inside] {
        let _ = stream.set_nodelay(true);
    }
    // Either side may break off; that is the end of the connection.
    let _ = copy_bidirectional(&mut outside, &mut inside).await;
}

/// The gateway's cluster address.
fn gateway(view: &View) -> Option<SocketAddrV4> {
    let key = ObjectKey {
        group: String::new(),
        kind: "Service".into(),
        namespace: NAMESPACE.into(),
        name: INGRESS_GATEWAY.into(),
    };
    let address = view
        .objects
        .get(&key)?
        .value
        .pointer("/spec/clusterIP")?
        .as_str()?
        .parse()
        .ok()?;
    Some(SocketAddrV4::new(address, HTTP_PORT))
}
