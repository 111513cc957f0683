//! Scenario C: h2c to h2c through one proxy, streams on one connection, gRPC-like requests.

use super::{Turn, bootstrap};
use crate::{
    contender::Contender,
    load::Protocol,
    responder::{self, Speaks},
};

const NAME: &str = "C: h2c";

pub(super) fn measure(turn: &mut Turn<'_>) -> anyhow::Result<()> {
    let backend = responder::start(Speaks::H2c)?;
    let bootstrap = bootstrap::h2c(turn.proxy, turn.dir, backend)?;
    let address = bootstrap.listen;
    let contender = Contender::start(turn.args, turn.proxy, turn.dir, &[bootstrap])?;
    turn.saturation(NAME, &contender, address, Protocol::H2c)
}
