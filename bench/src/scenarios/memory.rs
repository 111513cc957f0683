//! Memory: after the start, and while 1,000 connections are open that each have carried a request.

use std::{thread, time::Duration};

use super::{Turn, bootstrap};
use crate::{
    contender::Contender,
    load::{self, Protocol},
    responder::{self, Speaks},
};

const NAME: &str = "memory";
const CONNECTIONS: usize = 1000;
/// Allocators give back with delay what only the start needed.
const SETTLED_AFTER: Duration = Duration::from_secs(3);
const MIB: f64 = 1024.0 * 1024.0;

pub(super) fn measure(turn: &mut Turn<'_>) -> anyhow::Result<()> {
    let backend = responder::start(Speaks::Http1)?;
    let bootstrap = bootstrap::http1(turn.proxy, turn.dir, backend)?;
    let address = bootstrap.listen;
    let contender = Contender::start(turn.args, turn.proxy, turn.dir, &[bootstrap])?;
    // One request, so that what is allocated lazily is there.
    load::hold(address, 1, || Ok(()))?;
    thread::sleep(SETTLED_AFTER);
    let idle = contender.resident_bytes()? as f64;
    let held = load::hold(address, CONNECTIONS, || contender.resident_bytes())? as f64;
    load::closed_loop(
        address,
        Protocol::Http1,
        turn.args.connections,
        turn.args.length(),
    )?;
    let loaded = contender.resident_bytes()? as f64;
    turn.less(NAME, "idle MiB", idle / MIB);
    let each = (held - idle) / CONNECTIONS as f64;
    turn.less(NAME, "KiB per connection", each / 1024.0);
    turn.less(NAME, "with 1,000 connections MiB", held / MIB);
    turn.less(NAME, "after saturation MiB", loaded / MIB);
    Ok(())
}
