//! Scenario D: plain TCP, bytes in bulk and new connections.

use super::{Turn, bootstrap};
use crate::{
    contender::Contender,
    load::tcp,
    responder::{self, Speaks},
};

const NAME: &str = "D: TCP";
const LANES: usize = 16;
const GB: f64 = 1e9;

pub(super) fn measure(turn: &mut Turn<'_>) -> anyhow::Result<()> {
    bulk(turn)?;
    new_connections(turn)
}

fn bulk(turn: &mut Turn<'_>) -> anyhow::Result<()> {
    let bootstrap = bootstrap::tcp(responder::start(Speaks::Sink)?)?;
    let address = bootstrap.listen;
    let contender = Contender::start(turn.args, turn.proxy, turn.dir, &[bootstrap])?;
    tcp::bulk(address, super::WARM_UP)?;
    let before = contender.cpu_time()?;
    let bytes = tcp::bulk(address, turn.args.length())? as f64;
    let cpu = contender.cpu_time()? - before;
    turn.more(
        NAME,
        "bulk GB/s",
        bytes / GB / turn.args.length().as_secs_f64(),
    );
    turn.less(
        NAME,
        "bulk proxy CPU s/GB",
        cpu.as_secs_f64() / (bytes / GB),
    );
    Ok(())
}

fn new_connections(turn: &mut Turn<'_>) -> anyhow::Result<()> {
    let bootstrap = bootstrap::tcp(responder::start(Speaks::OneByte)?)?;
    let address = bootstrap.listen;
    let contender = Contender::start(turn.args, turn.proxy, turn.dir, &[bootstrap])?;
    tcp::new_connections(address, LANES, super::WARM_UP)?;
    let before = contender.cpu_time()?;
    let count = tcp::new_connections(address, LANES, turn.args.length())? as f64;
    let cpu = contender.cpu_time()? - before;
    turn.less(
        NAME,
        "new connection proxy CPU \u{b5}s",
        cpu.as_secs_f64() * 1e6 / count,
    );
    Ok(())
}
