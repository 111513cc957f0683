//! Scenario B: the sidecar pair. Plain HTTP/1.1 into the client's proxy, mTLS with HTTP/2 between the two,
//! plain HTTP/1.1 to the backend; authorization by the client's identity.

use super::{Turn, bootstrap};
use crate::{
    certs,
    contender::Contender,
    load::Protocol,
    responder::{self, Speaks},
};

const NAME: &str = "B: mTLS pair";
/// Requests per second for latency.
const RATE: f64 = 1000.0;

pub(super) fn measure(turn: &mut Turn<'_>) -> anyhow::Result<()> {
    let backend = responder::start(Speaks::Http1)?;
    let certs = certs::make(turn.dir)?;
    let server = bootstrap::mtls_server(turn.proxy, turn.dir, backend, &certs)?;
    let client = bootstrap::mtls_client(turn.proxy, turn.dir, server.listen, &certs)?;
    let address = client.listen;
    let contender = Contender::start(turn.args, turn.proxy, turn.dir, &[server, client])?;
    turn.saturation(NAME, &contender, address, Protocol::Http1)?;
    turn.latency(NAME, address, Protocol::Http1, RATE, Some(turn.proxy))
}
