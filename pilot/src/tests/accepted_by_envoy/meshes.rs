//! The meshes that are shown to Envoy.

use std::time::Duration;

use mesh_api::port::Protocol;
use mesh_api::route::matcher::StringMatch;

use super::check;
use super::fixture::*;

const REVIEWS: &str = "reviews.default.svc.cluster.local";

fn check_everywhere(case: &str, mesh: Mesh) {
    let snapshot = mesh.snapshot();
    check(&format!("{case}, sidecar"), &snapshot, &sidecar("productpage", "v1", "10.244.0.0", "envoy"));
    check(&format!("{case}, gateway"), &snapshot, &ingress("envoy"));
}

#[test]
fn bookinfo_without_rules() {
    check_everywhere("bookinfo", Mesh::bookinfo());
}

#[test]
fn bookinfo_through_its_gateway() {
    let mut mesh = Mesh::bookinfo();
    mesh.add_gateway(gateway("bookinfo-gateway", vec![server(80, Protocol::Http, "*", None)]));
    let product_page = "productpage.default.svc.cluster.local";
    let pages = [
        uri(StringMatch::Exact("/productpage".into())),
        uri(StringMatch::Prefix("/static".into())),
        uri(StringMatch::Regex("/api/v[0-9]+/.*".into())),
    ];
    mesh.add_virtual_service(virtual_service(
        "bookinfo",
        "*",
        Some("bookinfo-gateway"),
        vec![rule(pages.into(), to(product_page, &[("", 0)]))],
    ));
    mesh.add_destination_rule(destination_rule("reviews", REVIEWS, Default::default()));
    let mut jason = rule(vec![header("end-user", "jason")], to(REVIEWS, &[("v2", 0)]));
    jason.timeout = mesh_api::route::timeout::Timeout::After(Duration::from_millis(500));
    let others = rule(vec![], to(REVIEWS, &[("v1", 90), ("v3", 10)]));
    mesh.add_virtual_service(virtual_service("reviews", REVIEWS, None, vec![jason, others]));
    check_everywhere("bookinfo with rules", mesh);
}
