//! Another certificate authority: root and intermediate of the mesh are replaced while requests pass, and none fails.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{REVIEWS, in_force, open_bookinfo};
use crate::{assert, credentials::Authority, mesh::Mesh, poll};

const SERIAL: u64 = 0x5eed;
/// The new root is announced for three minutes, and then a certificate lives on for half of its 200 seconds.
const TAKEOVER_TIMEOUT: Duration = Duration::from_secs(420);
const RATE: u64 = 50;
/// Both ends of every hop of a request.
const WORKLOADS: [&str; 4] = [
    "istio-system/istio-ingressgateway",
    "default/productpage",
    "default/reviews-v3",
    "default/ratings",
];

pub(super) fn run(mesh: &mut Mesh) -> Result<()> {
    open_bookinfo(mesh)?;
    let authority = Authority::new()?;
    let intermediate = authority.intermediate(SERIAL)?;
    let load = mesh
        .ingress(REVIEWS)
        .with("--rate", RATE)
        .with("--duration", TAKEOVER_TIMEOUT.as_secs())
        .start()?;
    let secret = mesh.scratch_file(&intermediate.for_mesh(&authority).to_string())?;
    mesh.cluster().apply(&secret)?;
    let taken_over = load.during(|| {
        let what = "certificates of the new authority";
        poll::until(what, TAKEOVER_TIMEOUT, || {
            WORKLOADS.into_iter().try_for_each(|pod| signed(mesh, pod))
        })
    });
    mesh.cluster().delete(&secret)?;
    taken_over?;
    // Nobody needs the old authority any more.
    in_force("answers on new connections", || {
        let report = mesh.ingress(REVIEWS).new_connections().count(20).send()?;
        assert::all(&report, "200")
    })
}

/// The pod's certificate is signed by the new intermediate.
fn signed(mesh: &Mesh, pod: &str) -> Result<()> {
    let chain = mesh.certificate_chain(pod)?;
    let issuer = chain.get(1).context("no issuer")?;
    let issuer = u64::from_str_radix(&issuer.replace(':', ""), 16).unwrap_or_default();
    ensure!(issuer == SERIAL, "{pod} has {chain:?}");
    Ok(())
}
