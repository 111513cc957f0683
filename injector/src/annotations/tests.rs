//! Values that are understood, and those that are refused.

use rstest::rstest;
use serde_json::json;

use super::*;

fn parse(entries: &[(&str, &str)]) -> Result<Annotations, AnnotationError> {
    let raw = entries
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Annotations::parse(raw, &InjectorConfig::default())
}

#[test]
fn the_pods_proxy_config_is_merged_over_the_meshs() {
    let config = InjectorConfig {
        proxy_config: json!({"proxyMetadata": {"A": "1"}, "discoveryAddress": "istiod:15012"}),
        ..InjectorConfig::default()
    };
    let text = "holdApplicationUntilProxyStarts: true\nproxyMetadata:\n  B: \"2\"\n";
    let raw = BTreeMap::from([("proxy.istio.io/config".to_owned(), text.to_owned())]);
    let annotations = Annotations::parse(raw, &config).unwrap();
    assert_eq!(
        annotations.proxy_config,
        json!({
            "proxyMetadata": {"A": "1", "B": "2"},
            "discoveryAddress": "istiod:15012",
            "holdApplicationUntilProxyStarts": true,
        })
    );
    assert!(annotations.holds_application(&config));
}

#[rstest]
#[case(
    "traffic.sidecar.istio.io/includeOutboundIPRanges",
    "10.0.0.0/8, 192.168.0.1"
)]
#[case("traffic.sidecar.istio.io/includeOutboundIPRanges", "*")]
#[case("traffic.sidecar.istio.io/excludeOutboundIPRanges", "")]
#[case("traffic.sidecar.istio.io/excludeOutboundPorts", "3306,6379")]
#[case("traffic.sidecar.istio.io/excludeInterfaces", "eth1,net1")]
#[case("sidecar.istio.io/proxyCPU", "0.5")]
#[case("sidecar.istio.io/proxyMemoryLimit", "1Gi")]
#[case("sidecar.istio.io/userVolume", "{\"v\":{\"emptyDir\":{}}}")]
#[case("some.other/annotation", "anything")]
fn accepted(#[case] name: &str, #[case] value: &str) {
    parse(&[(name, value)]).unwrap();
}

#[rstest]
#[case(
    "sidecar.istio.io/interceptionMode",
    "MAGIC",
    "is not one of REDIRECT, TPROXY, NONE"
)]
#[case(
    "traffic.sidecar.istio.io/includeOutboundIPRanges",
    "10.0.0.0/33",
    "is not a list of CIDR ranges"
)]
#[case(
    "traffic.sidecar.istio.io/excludeOutboundIPRanges",
    "*",
    "is not a list of CIDR ranges"
)]
#[case(
    "traffic.sidecar.istio.io/excludeOutboundPorts",
    "33o6",
    "is not a list of ports"
)]
#[case(
    "traffic.sidecar.istio.io/excludeInboundPorts",
    "70000",
    "is not a list of ports"
)]
#[case(
    "traffic.sidecar.istio.io/excludeInterfaces",
    "a/b",
    "is not a list of interface names"
)]
#[case("status.sidecar.istio.io/port", "-1", "is not a port")]
#[case(
    "readiness.status.sidecar.istio.io/periodSeconds",
    "soon",
    "is not a number of seconds"
)]
#[case("sidecar.istio.io/proxyCPU", "fast", "is not a quantity of resources")]
#[case(
    "sidecar.istio.io/proxyMemory",
    "1Gb",
    "is not a quantity of resources"
)]
#[case("sidecar.istio.io/rewriteAppHTTPProbers", "yes", "is not a boolean")]
#[case("sidecar.istio.io/userVolume", "[]", "is not a JSON object")]
#[case("weft.dev/data-plane", "nginx", "is not one of weft, envoy")]
#[case("proxy.istio.io/config", "- a", "is not a ProxyConfig in YAML")]
#[case("proxy.istio.io/config", "a: [", "is not a ProxyConfig in YAML")]
fn refused(#[case] name: &str, #[case] value: &str, #[case] reason: &str) {
    let expected = AnnotationError {
        name: name.to_owned(),
        value: value.to_owned(),
        reason: reason.to_owned(),
    };
    assert_eq!(parse(&[(name, value)]), Err(expected));
}

#[test]
fn annotations_without_effect_are_named() {
    let annotations = parse(&[
        ("sidecar.istio.io/bootstrapOverride", "my-bootstrap"),
        ("sidecar.istio.io/logLevel", "debug"),
    ])
    .unwrap();
    assert_eq!(
        annotations.warnings(),
        [
            "annotation \"sidecar.istio.io/bootstrapOverride\" has no effect: the proxy's bootstrap cannot be replaced"
        ]
    );
}
