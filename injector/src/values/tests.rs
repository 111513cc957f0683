//! Values of charts, and what the injector makes of them.

use serde_json::json;

use super::*;

fn applied(values: &Value, config: Option<&str>) -> InjectorConfig {
    let values = Values::parse(Some(&values.to_string()), config).unwrap();
    let mut config = InjectorConfig::default();
    values.apply(&mut config);
    config
}

#[test]
fn nothing_said_leaves_the_defaults() {
    assert_eq!(applied(&json!({}), None), InjectorConfig::default());
    let empty = json!({"revision": "", "global": {
        "caAddress": "", "meshID": "", "network": "", "imagePullPolicy": "", "hub": "", "tag": "",
        "multiCluster": {"clusterName": ""}, "proxy_init": {"image": ""},
        "proxy": {
            "image": "proxy", "autoInject": "enabled", "seccompProfile": {}, "lifecycle": {},
        },
    }});
    let config = "policy: enabled\ndefaultTemplates: [sidecar]\ntemplates:\nalwaysInjectSelector:\nneverInjectSelector:\n";
    let sidecar = vec!["sidecar".to_owned()];
    let expected = InjectorConfig {
        templates: Arc::new(Templates::new([].into(), sidecar, [].into()).unwrap()),
        values: Arc::new(empty.clone()),
        ..InjectorConfig::default()
    };
    assert_eq!(applied(&empty, Some(config)), expected);
}

#[test]
fn what_is_said_is_taken_over() {
    let values = json!({
        "revision": "canary",
        "global": {
            "hub": "docker.io/weft", "tag": 0.1,
            "imagePullPolicy": "Never", "imagePullSecrets": ["pull"],
            "istioNamespace": "mesh", "caAddress": "ca.mesh.svc:15012", "meshID": "m", "network": "n",
            "multiCluster": {"clusterName": "east"},
            "proxy": {
                "image": "proxy", "clusterDomain": "example", "logLevel": "warning",
                "includeIPRanges": "10.0.0.0/8", "excludeOutboundPorts": "3306",
                "resources": {"requests": {"cpu": "10m"}},
                "holdApplicationUntilProxyStarts": true,
                "startupProbe": {"enabled": false, "failureThreshold": 30},
                "readinessPeriodSeconds": 5,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "proxy_init": {"image": "registry.example/init:1"},
        },
        "pilot": {"cni": {"enabled": true}, "env": {"ENABLE_NATIVE_SIDECARS": "false"}},
        "sidecarInjectorWebhook": {
            "rewriteAppHTTPProbe": false, "enableNamespacesByDefault": true,
            "injectedAnnotations": {"a": "b"},
        },
    });
    let defaults = InjectorConfig::default();
    let mut probes = defaults.probes;
    probes.startup = false;
    probes.startup_failures = 30;
    probes.readiness_period = 5;
    let expected = InjectorConfig {
        image: "docker.io/weft/proxy:0.1".to_owned(),
        init_image: Some("registry.example/init:1".to_owned()),
        image_pull_policy: Some("Never".to_owned()),
        image_pull_secrets: vec!["pull".to_owned()],
        revision: "canary".to_owned(),
        ca_address: "ca.mesh.svc:15012".to_owned(),
        root_namespace: "mesh".to_owned(),
        mesh_id: Some("m".to_owned()),
        cluster_domain: "example".to_owned(),
        cluster_id: "east".to_owned(),
        network: Some("n".to_owned()),
        resources: json!({"requests": {"cpu": "10m"}}),
        log_level: "warning".to_owned(),
        inject_by_default: true,
        hold_application_until_proxy_starts: true,
        rewrite_probes: false,
        cni: true,
        include_outbound_ip_ranges: "10.0.0.0/8".to_owned(),
        exclude_outbound_ports: "3306".to_owned(),
        injected_annotations: [("a".to_owned(), "b".to_owned())].into(),
        seccomp_profile: Some(json!({"type": "RuntimeDefault"})),
        probes,
        values: Arc::new(values.clone()),
        ..defaults
    };
    assert_eq!(applied(&values, None), expected);
    let values = Values::parse(Some(&values.to_string()), None).unwrap();
    assert_eq!(values.native_sidecars(), Some(false));
}

#[test]
fn a_full_image_needs_neither_hub_nor_tag() {
    let values =
        json!({"global": {"hub": "h", "tag": "t", "proxy": {"image": "r.example/p@sha256:1"}}});
    assert_eq!(applied(&values, None).image, "r.example/p@sha256:1");
}

#[test]
fn policy_and_selectors_are_read() {
    let config = "policy: disabled\nneverInjectSelector:\n- matchLabels: {job: once}\n";
    let config = applied(&json!({}), Some(config));
    assert!(!config.inject_unasked);
    assert_eq!(config.never_inject.len(), 1);
    let policy = json!({"global": {"proxy": {"autoInject": "disabled"}}});
    assert!(!applied(&policy, None).inject_unasked);
}

#[test]
fn what_cannot_be_read_is_an_error() {
    assert!(matches!(
        Values::parse(Some("hub: x"), None),
        Err(ValuesError::Values(_))
    ));
    assert!(matches!(
        Values::parse(None, Some("policy: [")),
        Err(ValuesError::Config(_))
    ));
}

#[test]
fn templates_are_read_from_both_keys() {
    let values = json!({"sidecarInjectorWebhook": {
        "templates": {"a": "{{ .Values.x }}", "b": "spec: {}"},
        "defaultTemplates": ["sidecar", "a"],
    }});
    let config = "templates: {b: 'metadata: {}'}\naliases: {both: [a, b]}\n";
    let sources = [("a", "{{ .Values.x }}"), ("b", "metadata: {}")];
    let sources = sources.map(|(name, source)| (name.to_owned(), source.to_owned()));
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let expected = Templates::new(
        sources.into(),
        names(&["sidecar", "a"]),
        [("both".to_owned(), names(&["a", "b"]))].into(),
    );
    assert_eq!(*applied(&values, Some(config)).templates, expected.unwrap());
    let config = Some("defaultTemplates: [gateway]\n");
    let expected = Templates::new(
        [("a", "{{ .Values.x }}"), ("b", "spec: {}")]
            .map(|(name, source)| (name.to_owned(), source.to_owned()))
            .into(),
        names(&["gateway"]),
        [].into(),
    );
    assert_eq!(*applied(&values, config).templates, expected.unwrap());
}

#[test]
fn the_older_name_of_the_cni_plugin_is_understood() {
    let older = json!({"istio_cni": {"enabled": true}});
    assert!(applied(&older, None).cni);
    let both = json!({"istio_cni": {"enabled": true}, "pilot": {"cni": {"enabled": false}}});
    assert!(!applied(&both, None).cni);
}
