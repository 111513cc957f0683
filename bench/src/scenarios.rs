//! The scenarios, and the order of turns: in every round each contender runs once, from a fresh start.

mod bootstrap;
mod h2c;
mod http1;
mod memory;
mod mtls_pair;
mod reviews;
mod tcp;

use std::{io::Write, net::SocketAddr, path::Path, time::Duration};

use anyhow::ensure;

pub(crate) use bootstrap::free_address;

use crate::{
    args::{Args, Proxy, Scenario},
    contender::Contender,
    load::{self, Protocol},
    report::Sample,
};

/// Runs before measuring, so that caches, pools and allocators are as they will be.
const WARM_UP: Duration = Duration::from_millis(500);

/// Runs what `args` chooses and returns every value of every round.
pub fn run(args: &Args) -> anyhow::Result<Vec<Sample>> {
    let contenders = args.contenders();
    let of_proxies = args.scenarios().iter().any(|one| *one != Scenario::Reviews);
    ensure!(
        !contenders.is_empty() || !of_proxies,
        "no contender is there: \"{}\" and \"{}\" do not exist",
        args.weft().display(),
        args.envoy.display()
    );
    let dir = tempfile::tempdir()?;
    let mut samples = Vec::new();
    for scenario in args.scenarios() {
        let contenders = match scenario {
            // There is nothing to compare our control plane with.
            Scenario::Reviews => &[Proxy::Weft],
            _ => contenders.as_slice(),
        };
        for round in 1..=args.rounds {
            for proxy in contenders.iter().filter(|proxy| proxy.runs(scenario)) {
                let _ = writeln!(
                    std::io::stderr(),
                    "scenario {scenario:?}, round {round} of {}: {}",
                    args.rounds,
                    proxy.name()
                );
                let mut turn = Turn {
                    args,
                    proxy: *proxy,
                    dir: dir.path(),
                    samples: &mut samples,
                };
                match scenario {
                    Scenario::A => http1::measure(&mut turn)?,
                    Scenario::B => mtls_pair::measure(&mut turn)?,
                    Scenario::C => h2c::measure(&mut turn)?,
                    Scenario::D => tcp::measure(&mut turn)?,
                    Scenario::Memory => memory::measure(&mut turn)?,
                    Scenario::Reviews => reviews::measure(&mut turn)?,
                }
            }
        }
    }
    Ok(samples)
}

/// One contender's turn in one round.
struct Turn<'a> {
    args: &'a Args,
    proxy: Proxy,
    dir: &'a Path,
    samples: &'a mut Vec<Sample>,
}

impl Turn<'_> {
    fn less(&mut self, scenario: &'static str, metric: &'static str, value: f64) {
        self.add(scenario, metric, value, true, Some(self.proxy));
    }

    fn more(&mut self, scenario: &'static str, metric: &'static str, value: f64) {
        self.add(scenario, metric, value, false, Some(self.proxy));
    }

    fn add(
        &mut self,
        scenario: &'static str,
        metric: &'static str,
        value: f64,
        less_is_better: bool,
        proxy: Option<Proxy>,
    ) {
        self.samples.push(Sample {
            scenario,
            metric,
            less_is_better,
            proxy,
            value,
            bounds: None,
        });
    }

    /// A value that should be below the first of `bounds` and must be below the second.
    fn bounded(
        &mut self,
        scenario: &'static str,
        metric: &'static str,
        value: f64,
        bounds: (f64, f64),
    ) {
        self.less(scenario, metric, value);
        if let Some(sample) = self.samples.last_mut() {
            sample.bounds = Some(bounds);
        }
    }

    /// Requests per second and CPU per request, with all lanes busy.
    fn saturation(
        &mut self,
        scenario: &'static str,
        contender: &Contender,
        address: SocketAddr,
        protocol: Protocol,
    ) -> anyhow::Result<()> {
        let lanes = self.args.connections;
        load::closed_loop(address, protocol, lanes, WARM_UP)?;
        let before = contender.cpu_time()?;
        let done = load::closed_loop(address, protocol, lanes, self.args.length())?;
        let cpu = contender.cpu_time()? - before;
        let rate = done.requests as f64 / done.elapsed.as_secs_f64();
        let cpu_us = cpu.as_secs_f64() * 1e6 / done.requests as f64;
        self.more(scenario, "requests/s at saturation", rate);
        self.less(scenario, "proxy CPU \u{b5}s/request", cpu_us);
        Ok(())
    }

    /// p50 and p99 at a fixed rate.
    fn latency(
        &mut self,
        scenario: &'static str,
        address: SocketAddr,
        protocol: Protocol,
        rate: f64,
        proxy: Option<Proxy>,
    ) -> anyhow::Result<()> {
        let lanes = self.args.connections;
        let latencies = load::open_loop(address, protocol, lanes, rate, self.args.length())?;
        for (metric, quantile) in [
            ("p50 \u{b5}s at fixed rate", 0.5),
            ("p99 \u{b5}s at fixed rate", 0.99),
        ] {
            let microseconds = latencies.value_at_quantile(quantile) as f64 / 1000.0;
            self.add(scenario, metric, microseconds, true, proxy);
        }
        Ok(())
    }
}
