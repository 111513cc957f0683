//! `envoy.filters.listener.original_dst`: the address that a redirected client had connected to.

use std::net::SocketAddr;

use socket2::SockRef;
use tokio::net::TcpStream;

/// The address before redirection, or `None` if the connection was not redirected.
///
/// With TPROXY the socket's own address is the original one; `transparent` says that the listener works that
/// way, and any address other than the listener's was then somebody else's.
pub(super) fn original_dst(
    socket: &TcpStream,
    listening: SocketAddr,
    transparent: bool,
) -> Option<SocketAddr> {
    let local = socket.local_addr().ok()?;
    if transparent {
        return (local.port() != listening.port()).then_some(local);
    }
    let socket = SockRef::from(socket);
    let original = match local {
        SocketAddr::V4(_) => socket.original_dst_v4(),
        SocketAddr::V6(_) => socket.original_dst_v6(),
    };
    // Without a connection tracking entry the kernel answers ENOENT: the client meant us.
    let original = original.ok()?.as_socket()?;
    (original != local).then_some(original)
}
