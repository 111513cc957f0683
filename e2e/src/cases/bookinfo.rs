//! Case 1: the product page and its neighbours through the ingress gateway.

use anyhow::{Result, ensure};

use super::{REVIEWS, REVIEWS_VERSION, open_bookinfo};
use crate::{assert, mesh::Mesh};

pub(super) fn run(mesh: &mut Mesh) -> Result<()> {
    open_bookinfo(mesh)?;
    pages(mesh)?;
    session(mesh)?;
    api(mesh)?;
    unrouted(mesh)?;
    all_versions(mesh)?;
    mesh.no_rejections()
}

fn pages(mesh: &Mesh) -> Result<()> {
    let report = mesh.ingress("/productpage").count(20).send()?;
    assert::all(&report, "200")?;
    let page = &report.first()?.body;
    for part in [
        "Book Details",
        "Book Reviews",
        "Reviews served by:",
        "PublisherA",
    ] {
        assert::contains(page, part)?;
    }
    assert::lacks(page, "Sorry, product")?;
    let report = mesh.ingress("/static/tailwind/tailwind.css").send()?;
    assert::all(&report, "200")
}

fn session(mesh: &Mesh) -> Result<()> {
    let report = mesh
        .ingress("/login")
        .with("--method", "POST")
        .with("--body", "username=jason&passwd=")
        .header("content-type: application/x-www-form-urlencoded")
        .header("referer: /productpage")
        .send()?;
    assert::all(&report, "302")?;
    let cookie = report.first()?.header("set-cookie").to_owned();
    ensure!(cookie.starts_with("session="), "no session in \"{cookie}\"");
    let cookie = cookie.split(';').next().unwrap_or_default();
    let report = mesh
        .ingress("/productpage")
        .header(&format!("cookie: {cookie}"))
        .send()?;
    assert::contains(&report.first()?.body, "jason")?;
    let report = mesh
        .ingress("/logout")
        .header("referer: /productpage")
        .send()?;
    assert::all(&report, "302")?;
    assert::contains(report.first()?.header("set-cookie"), "Max-Age=0")
}

fn api(mesh: &Mesh) -> Result<()> {
    for (path, part) in [
        ("/api/v1/products", "The Comedy of Errors"),
        ("/api/v1/products/0", "William Shakespeare"),
        (REVIEWS, "Reviewer1"),
        ("/api/v1/products/0/ratings", "Reviewer2"),
    ] {
        let report = mesh.ingress(path).count(5).send()?;
        assert::all(&report, "200")?;
        assert::contains(&report.first()?.body, part)?;
    }
    Ok(())
}

/// A path without a route is answered by the gateway, which says why in its log.
fn unrouted(mesh: &Mesh) -> Result<()> {
    let report = mesh.ingress("/no-such-route").count(3).send()?;
    assert::all(&report, "404")?;
    mesh.wait_for_log(
        "istio-system/istio-ingressgateway",
        "flag NR in the log",
        |line| line.contains("/no-such-route") && line.contains(" 404 NR "),
    )
    .map(drop)
}

fn all_versions(mesh: &Mesh) -> Result<()> {
    let report = mesh
        .ingress(REVIEWS)
        .count(100)
        .concurrency(4)
        .group_by(REVIEWS_VERSION)
        .send()?;
    assert::only(&report, &["v1", "v2", "v3"])
}
