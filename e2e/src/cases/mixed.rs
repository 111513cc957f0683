//! Case 6: our proxy and Envoy in one mesh.

use anyhow::{Result, ensure};

use super::{ECHO_VERSION, REVIEWS, REVIEWS_VERSION, open_bookinfo};
use crate::{assert, mesh::Mesh};

/// In a mixed mesh these run Envoy, and all others our proxy.
const WITH_ENVOY: [&str; 4] = [
    "default/productpage",
    "default/reviews-v2",
    "default/ratings",
    "apps/echo-v2",
];

pub(super) fn run(mesh: &mut Mesh) -> Result<()> {
    open_bookinfo(mesh)?;
    // Envoy to both, and with v2 and v3 both on to Envoy.
    let report = mesh
        .ingress(REVIEWS)
        .count(300)
        .concurrency(4)
        .group_by(REVIEWS_VERSION)
        .send()?;
    assert::only(&report, &["v1", "v2", "v3"])?;
    let report = mesh
        .ingress("/productpage")
        .count(50)
        .concurrency(2)
        .send()?;
    assert::all(&report, "200")?;
    assert::lacks(&report.first()?.body, "Sorry, product")?;
    // Our proxy to both, with the caller's identity at each.
    for port in [8080, 8082] {
        let url = format!("http://echo:{port}/");
        let mut traffic = mesh
            .from("apps/client", &url)?
            .count(90)
            .group_by(ECHO_VERSION)
            .with("--keep", 90);
        if port == 8082 {
            traffic = traffic.flag("--http2");
        }
        let report = traffic.send()?;
        assert::only(&report, &["v1", "v2", "v3"])?;
        for answer in &report.answers {
            let answer = answer.json()?;
            let peer = answer["headers"]["x-forwarded-client-cert"]
                .as_str()
                .unwrap_or_default();
            assert::contains(peer, "URI=spiffe://cluster.local/ns/apps/sa/client")?;
        }
    }
    which_is_which(mesh)?;
    mesh.no_rejections()
}

/// The proxies say what they are.
fn which_is_which(mesh: &Mesh) -> Result<()> {
    for (pod, is_envoy) in WITH_ENVOY
        .map(|pod| (pod, true))
        .into_iter()
        .chain([("default/details", false), ("apps/client", false)])
    {
        let info = mesh
            .from(pod, "http://127.0.0.1:15000/server_info")?
            .send()?;
        let version = info.first()?.json()?["version"].to_string();
        ensure!(
            version.contains("weft") != is_envoy,
            "{pod} should {}run Envoy: {version}",
            if is_envoy { "" } else { "not " }
        );
    }
    Ok(())
}
