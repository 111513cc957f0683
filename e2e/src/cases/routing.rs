//! Cases 2 and 3: routes by version, user and weight, with the sample's own files.

use anyhow::Result;

use super::{JASON, PROBES, REVIEWS, REVIEWS_VERSION, in_force, open_bookinfo};
use crate::{
    assert,
    mesh::Mesh,
    traffic::{Report, Traffic},
};

const EXACT_REQUESTS: u64 = 200;
const WEIGHTED_REQUESTS: u64 = 2000;
const CONCURRENCY: u64 = 4;

/// A file, and which versions of reviews answer jason and everybody else with it.
const ROUTES: [(&str, &[&str], &[&str]); 5] = [
    ("virtual-service-all-v1", &["v1"], &["v1"]),
    ("virtual-service-reviews-test-v2", &["v2"], &["v1"]),
    ("virtual-service-reviews-v3", &["v3"], &["v3"]),
    ("virtual-service-reviews-jason-v2-v3", &["v2"], &["v3"]),
    (
        "virtual-service-reviews-v2-v3",
        &["v2", "v3"],
        &["v2", "v3"],
    ),
];

/// A file, and its weights in percent.
const SPLITS: [(&str, &[(&str, f64)]); 3] = [
    (
        "virtual-service-reviews-90-10",
        &[("v1", 90.0), ("v2", 10.0)],
    ),
    (
        "virtual-service-reviews-80-20",
        &[("v1", 80.0), ("v2", 20.0)],
    ),
    (
        "virtual-service-reviews-50-v3",
        &[("v1", 50.0), ("v3", 50.0)],
    ),
];

pub(super) fn request_routing(mesh: &mut Mesh) -> Result<()> {
    open_bookinfo(mesh)?;
    mesh.apply_bookinfo("destination-rule-all")?;
    for (file, jason, others) in ROUTES {
        mesh.apply_bookinfo(file)?;
        in_force(file, || {
            assert::only(&reviews(mesh, PROBES).header(JASON).send()?, jason)?;
            assert::only(&reviews(mesh, PROBES).send()?, others)
        })?;
        assert::only(&reviews(mesh, EXACT_REQUESTS).header(JASON).send()?, jason)?;
        assert::only(&reviews(mesh, EXACT_REQUESTS).send()?, others)?;
        pages_agree(mesh, others)?;
    }
    mesh.no_rejections()
}

/// The page shows the stars of the version that its reviews come from.
fn pages_agree(mesh: &Mesh, versions: &[&str]) -> Result<()> {
    let report = mesh.ingress("/productpage").send()?;
    let page = &report.first()?.body;
    let [version] = versions else {
        return Ok(());
    };
    for (other, sign) in [("v2", "text-black-500"), ("v3", "text-red-500")] {
        match *version == other {
            true => assert::contains(page, sign)?,
            false => assert::lacks(page, sign)?,
        }
    }
    Ok(())
}

pub(super) fn traffic_shifting(mesh: &mut Mesh) -> Result<()> {
    open_bookinfo(mesh)?;
    mesh.apply_bookinfo("destination-rule-all")?;
    for (file, weights) in SPLITS {
        mesh.apply_bookinfo(file)?;
        in_force(file, || {
            assert::weights(&reviews(mesh, 100).send()?, weights)
        })?;
        let report: Report = reviews(mesh, WEIGHTED_REQUESTS).send()?;
        assert::weights(&report, weights)?;
    }
    mesh.no_rejections()
}

/// Requests for reviews as the product page makes them.
fn reviews(mesh: &Mesh, count: u64) -> Traffic<'_> {
    mesh.ingress(REVIEWS)
        .count(count)
        .concurrency(CONCURRENCY)
        .group_by(REVIEWS_VERSION)
}
