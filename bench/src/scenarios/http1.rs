//! Scenario A: HTTP/1.1 to HTTP/1.1 through one proxy with what an Istio sidecar has for each request.

use super::{Turn, bootstrap};
use crate::{
    contender::Contender,
    load::Protocol,
    responder::{self, Speaks},
};

const NAME: &str = "A: HTTP/1.1";
/// Requests per second for latency.
const RATE: f64 = 4000.0;

pub(super) fn measure(turn: &mut Turn<'_>) -> anyhow::Result<()> {
    let backend = responder::start(Speaks::Http1)?;
    turn.latency(NAME, backend, Protocol::Http1, RATE, None)?;
    let bootstrap = bootstrap::http1(turn.proxy, turn.dir, backend)?;
    let address = bootstrap.listen;
    let contender = Contender::start(turn.args, turn.proxy, turn.dir, &[bootstrap])?;
    turn.saturation(NAME, &contender, address, Protocol::Http1)?;
    turn.latency(NAME, address, Protocol::Http1, RATE, Some(turn.proxy))
}
