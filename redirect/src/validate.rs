//! Whether capture is in force in the current network namespace, told without privileges.
//!
//! Where a CNI plugin applies the rules, nothing in the pod has applied them, and a pod that started before the
//! plugin was there must not run open. So the first init container connects to an address at which nobody
//! listens, from an address that only the rules know, and expects the connection at the proxy's inbound port.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    time::Duration,
};

use socket2::{Domain, SockRef, Socket, Type};

/// Where the check connects to. Istio's passthrough address and probe port.
pub const PROBE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 6), 15002);

/// Where it connects from.
pub const PROBE_SOURCE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Exit code of a check that found no rules, by which a repair controller knows such a pod; Istio's.
pub const NOT_CAPTURED: u8 = 126;

/// Both ends are on this machine: what takes longer was dropped.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why capture is not known to be in force.
#[derive(Debug, thiserror::Error)]
pub enum ValidationError {
    /// The port at which the connection is expected is taken, or sockets do not work.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Nothing redirected the connection.
    #[error(
        "traffic of this pod is not captured: the node's CNI plugin was not there when the pod started; delete the pod unless the node agent repairs it"
    )]
    NotCaptured,
    /// The connection arrived, but not as expected.
    #[error("cannot tell whether traffic is captured")]
    Unknown(#[source] io::Error),
}

/// Succeeds if the rules lead to the proxy's `inbound_port`, at which nobody may listen yet.
pub fn validate(inbound_port: u16) -> Result<(), ValidationError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, inbound_port));
    let listener = TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|source| ValidationError::Listen { address, source })?;
    // Refused, timed out, unreachable: whatever the reason, no rule took the connection.
    let client = connect().map_err(|_| ValidationError::NotCaptured)?;
    match arrived(&listener, &client) {
        Ok(true) => Ok(()),
        Ok(false) => Err(ValidationError::NotCaptured),
        Err(error) => Err(ValidationError::Unknown(error)),
    }
}

fn connect() -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((PROBE_SOURCE, 0)).into())?;
    socket.connect_timeout(&SocketAddr::V4(PROBE).into(), TIMEOUT)?;
    Ok(socket.into())
}

/// Whether the client's connection is among those that were accepted, with its first destination.
fn arrived(listener: &TcpListener, client: &TcpStream) -> io::Result<bool> {
    let client = client.local_addr()?;
    loop {
        match listener.accept() {
            Ok((stream, peer)) if peer == client => {
                let found = SockRef::from(&stream).original_dst_v4()?;
                return Ok(found.as_socket() == Some(SocketAddr::V4(PROBE)));
            }
            Ok(_) => {}
            // A connection that the client sees as made is in the queue already.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}
