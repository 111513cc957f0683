//! Templates by what they make of pods, and by what is said of those that make nothing.

use serde_json::json;

use super::*;
use crate::config::InjectorConfig;
use crate::inject::inject_pod;
use crate::policy::Namespace;

fn templates(sources: &[(&str, &str)]) -> Result<Templates, TemplatesError> {
    let sources = sources
        .iter()
        .map(|(name, source)| ((*name).to_owned(), (*source).to_owned()));
    Templates::new(sources.collect(), Vec::new(), BTreeMap::new())
}

fn config(templates: Templates) -> InjectorConfig {
    InjectorConfig {
        templates: Arc::new(templates),
        values: Arc::new(json!({"global": {"hub": "docker.io/weft"}})),
        ..InjectorConfig::default()
    }
}

fn injected(asked: &str, pod: Value, config: &InjectorConfig) -> Result<Value, String> {
    let mut pod = pod;
    pod["metadata"]["annotations"]["inject.istio.io/templates"] = asked.into();
    let namespace = Namespace {
        name: "shop".to_owned(),
        labels: None,
    };
    match inject_pod(&pod, &namespace, config) {
        Ok(injection) => Ok(injection.pod),
        Err(error) => Err(error.to_string()),
    }
}

fn pod() -> Value {
    json!({
        "metadata": {"name": "cart", "labels": {"app": "cart"}},
        "spec": {"containers": [{
            "name": "app",
            "image": "cart:1",
            "ports": [{"containerPort": 9080}, {"containerPort": 53, "protocol": "UDP"}],
            "readinessProbe": {"httpGet": {"port": 9080}},
        }]},
    })
}

/// What the template alone renders for [`pod`].
fn rendered(source: &str) -> Result<Value, String> {
    let config = config(templates(&[("own", source)]).map_err(|error| error.to_string())?);
    let mut pod = injected("own", pod(), &config)?;
    let metadata = pod["metadata"].take();
    Ok(json!({"annotations": metadata["annotations"]["said"], "spec": pod["spec"]}))
}

fn said(expression: &str) -> Result<String, String> {
    let source = format!(
        "metadata:\n  annotations:\n    said: {{{{ toJson (toString ({expression})) }}}}\n"
    );
    let said = rendered(&source)?["annotations"].take();
    Ok(said.as_str().unwrap_or_default().to_owned())
}

/// Istio's own example of a template that changes every container, in its test data.
#[test]
fn a_template_without_a_proxy_leaves_probes_and_metrics_alone() {
    let source = "
metadata:
  annotations:
    foo: bar
spec:
  containers:
  {{- range $index, $container := .Spec.Containers }}
  - name: {{ $container.Name }}
    env:
    - name: SOME_ENV
      value: \"true\"
    volumeMounts:
    - mountPath: /var/lib/data/foo.json
      subPath: foo.json
      name: some-injected-file
  {{- end}}
  volumes:
  - name: some-injected-file
    downwardAPI:
      items:
      - path: foo.json
        fieldRef:
          fieldPath: \"metadata.annotations['foo']\"
";
    let config = config(templates(&[("custom", source)]).unwrap());
    let own = pod()["spec"]["containers"].take();
    let mut container = own[0].clone();
    container["env"] = json!([{"name": "SOME_ENV", "value": "true"}]);
    container["volumeMounts"] = json!([{
        "mountPath": "/var/lib/data/foo.json", "subPath": "foo.json", "name": "some-injected-file",
    }]);
    let status = json!({
        "initContainers": null, "containers": ["app"], "volumes": ["some-injected-file"], "imagePullSecrets": null,
        "revision": "default",
    });
    let expected = json!({
        "metadata": {
            "name": "cart",
            "labels": {"app": "cart"},
            "annotations": {
                "inject.istio.io/templates": "custom",
                "foo": "bar",
                "sidecar.istio.io/status": status.to_string(),
                "proxy.istio.io/overrides": json!({"containers": own}).to_string(),
            },
        },
        "spec": {
            "containers": [container],
            "volumes": [{
                "name": "some-injected-file",
                "downwardAPI": {"items": [{
                    "path": "foo.json", "fieldRef": {"fieldPath": "metadata.annotations['foo']"},
                }]},
            }],
        },
    });
    let once = injected("custom", pod(), &config).unwrap();
    assert_eq!(once, expected);
    assert_eq!(injected("custom", once.clone(), &config).unwrap(), once);
}

#[test]
fn a_template_after_the_sidecar_changes_its_proxy_wherever_that_is() {
    let source = "
metadata:
  annotations: {sidecar.istio.io/rewriteAppHTTPProbers: \"false\"}
spec:
  containers:
  - name: istio-proxy
    env: [{name: GREETING, value: {{ .Values.global.hub | quote }}}]
";
    for native_sidecar in [false, true] {
        let config = InjectorConfig {
            native_sidecar,
            ..config(templates(&[("greet", source)]).unwrap())
        };
        let plain = injected("sidecar", pod(), &config).unwrap();
        let found = injected(" sidecar, greet", pod(), &config).unwrap();
        let (here, there) = match native_sidecar {
            true => ("initContainers", "containers"),
            false => ("containers", "initContainers"),
        };
        let names = |pod: &Value, list: &str| -> Vec<Value> {
            let containers = pod["spec"][list].as_array().unwrap();
            containers
                .iter()
                .map(|container| container["name"].clone())
                .collect()
        };
        assert_eq!(names(&found, here), names(&plain, here));
        assert_eq!(names(&found, there), names(&plain, there));
        let proxies = found["spec"][here].as_array().unwrap().iter();
        let proxy = proxies
            .clone()
            .find(|container| container["name"] == "istio-proxy");
        let env = proxy.unwrap()["env"].as_array().unwrap();
        assert!(env.contains(&json!({"name": "GREETING", "value": "docker.io/weft"})));
        // The template has switched the rewriting of probes off.
        let app = found["spec"]["containers"].as_array().unwrap().iter();
        let app = app
            .clone()
            .find(|container| container["name"] == "app")
            .unwrap();
        assert_eq!(app["readinessProbe"], json!({"httpGet": {"port": 9080}}));
        assert_eq!(
            injected(" sidecar, greet", found.clone(), &config).unwrap(),
            found
        );
    }
}

#[test]
fn defaults_and_aliases_name_templates() {
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let sources = [(
        "own".to_owned(),
        "metadata: {labels: {own: \"1\"}}".to_owned(),
    )];
    let aliases = [("meshed".to_owned(), names(&["sidecar", "own"]))];
    let defaults = names(&["meshed"]);
    let config = config(Templates::new(sources.into(), defaults, aliases.into()).unwrap());
    let namespace = Namespace {
        name: "shop".to_owned(),
        labels: None,
    };
    let found = inject_pod(&pod(), &namespace, &config).unwrap().pod;
    assert_eq!(found["metadata"]["labels"]["own"], "1");
    assert_eq!(found["spec"]["containers"][1]["name"], "istio-proxy");
    assert_eq!(
        injected("other", pod(), &config).unwrap_err(),
        "annotation \"inject.istio.io/templates\": there is no template \"other\", only \"gateway\", \"meshed\", \
         \"own\" and \"sidecar\""
    );
}

#[rstest::rstest]
#[case("annotation .ObjectMeta `no.such` 15020", "15020")]
#[case("annotation .ObjectMeta `inject.istio.io/templates` `x`", "own")]
#[case("isset .ObjectMeta.Labels `app`", "true")]
#[case(".ObjectMeta.Namespace", "shop")]
#[case(".DeploymentMeta.Name", "cart")]
#[case(".ProxyUID", "1337")]
#[case(".MeshConfig.TrustDomain", "cluster.local")]
#[case("includeInboundPorts .Spec.Containers", "9080")]
#[case("excludeInboundPort 15020 ` 80,81 `", "80,81,15020")]
#[case("excludeInboundPort 80 `80,81`", "80,81")]
#[case("valueOrDefault .Values.none `x`", "x")]
#[case("default `x` ``", "x")]
#[case("coalesce `` .Values.none 3", "3")]
#[case("ternary `a` `b` false", "b")]
#[case("toJson (omitNil (dict `a` .Values.none `b` 1))", r#"{"b":1}"#)]
#[case(
    "toJsonMap (strdict `a` `1`) (strdict `a` `2` `b`)",
    r#"{"a":"2","b":""}"#
)]
#[case("toJson (omit (dict `a` 1 `b` 2) `a`)", r#"{"b":2}"#)]
#[case("toJson (pick (dict `a` 1 `b` 2) `a`)", r#"{"a":1}"#)]
#[case("get (fromJSON `{\"a\": 7}`) `a`", "7")]
#[case("protoToJSON .Values.none", "{}")]
#[case("indent 2 `a\nb`", "a\n  b")]
#[case("nindent 2 `a\nb`", "\n  a\n  b")]
#[case("toYaml (list 1 `a`)", "- 1\n- a\n")]
#[case("`a-b` | trimPrefix `a` | trimSuffix `b` | quote", "\"-\"")]
#[case("hasPrefix `a` `ab`", "true")]
#[case("contains `b` `abc`", "true")]
#[case("`a.b` | replace `.` `-` | upper | trunc 2", "A-")]
#[case("join `,` (splitList ` ` `a b`)", "a,b")]
#[case("directory `/etc/certs/key.pem`", "/etc/certs/")]
#[case("b64enc `weft` | b64dec", "weft")]
#[case("add 1 `2` 3", "6")]
#[case("has `a` (list `a`)", "true")]
#[case("first (keys .ObjectMeta.Labels)", "app")]
fn functions_yield_what_istios_yield(#[case] expression: &str, #[case] expected: &str) {
    assert_eq!(said(expression).unwrap(), expected);
}

#[rstest::rstest]
#[case("fail `no`", "template \"own\": execution error: no")]
#[case(
    "annotation .ObjectMeta",
    "template \"own\": wrong number of arguments: annotation expects 3, got 1"
)]
#[case(
    "int `x`",
    "template \"own\": execution error: invalid digit found in string"
)]
#[case("has 1 2", "template \"own\": type mismatch: expected list, got int")]
fn a_function_that_cannot_do_it_refuses_the_pod(#[case] expression: &str, #[case] expected: &str) {
    assert_eq!(said(expression).unwrap_err(), expected);
}

#[rstest::rstest]
#[case(
    "spec: {nodeName: {{ .Values.none }}}",
    "prints a value that is not there: spec: {nodeName: <no value>}"
)]
#[case(
    "status: {}",
    "\"status\" is nothing that a template may set, \"metadata\" and \"spec\" are"
)]
#[case(
    "metadata: {name: x}",
    "\"metadata.name\" is nothing that a template may set, \"metadata.labels\" and \"metadata.annotations\" are"
)]
#[case("- a", "renders no pod, but a list or a scalar")]
#[case("spec: []", "\"spec\" is not a map")]
#[case("{{ range 20000 }} {{ end }}", "range iteration budget exhausted")]
#[case(
    "{{ $x := `0123456789` }}{{ range 20 }}{{ $x = print $x $x }}{{ end }}#{{ $x }}",
    "renders more than 1048576 bytes"
)]
fn what_is_no_partial_pod_refuses_the_pod(#[case] source: &str, #[case] expected: &str) {
    assert_eq!(
        rendered(source).unwrap_err(),
        format!("template \"own\": {expected}")
    );
}

#[test]
fn a_template_of_nothing_changes_nothing_but_the_notes() {
    assert_eq!(
        rendered("{{/* nothing */}}").unwrap()["spec"],
        pod()["spec"]
    );
}

#[test]
fn what_can_be_said_of_a_template_is_said_when_it_is_read() {
    let refused = |name, source| templates(&[(name, source)]).unwrap_err().to_string();
    assert_eq!(
        refused("sidecar", ""),
        "template \"sidecar\" is built in and cannot be replaced: give yours another name"
    );
    assert_eq!(
        refused(
            "own",
            "spec:\n{{ if true }}\n  {{ with 1 }}{{ print (env `X` `y`) }}{{ end }}{{ end }}"
        ),
        "template: own:3: there is no function \"env\""
    );
    assert_eq!(
        refused("own", "{{ if }}"),
        "template: own:1:9: empty command"
    );
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let defaults = Templates::new([].into(), names(&["own"]), [].into());
    assert_eq!(
        defaults.unwrap_err().to_string(),
        "\"defaultTemplates\" names template \"own\", which does not exist"
    );
    let aliases = [("a".to_owned(), names(&["sidecar", "own"]))];
    let aliases = Templates::new([].into(), Vec::new(), aliases.into());
    assert_eq!(
        aliases.unwrap_err().to_string(),
        "\"aliases.a\" names template \"own\", which does not exist"
    );
}

#[test]
fn every_function_of_ours_and_of_the_language_may_be_called() {
    for name in functions::all().keys() {
        assert!(functions::exists(name), "{name}");
    }
    assert!(!functions::exists("env"));
    for name in functions::BUILT_IN {
        let call = Template::new("call").parse(&format!("{{{{ {name} }}}}"));
        let result = call.unwrap().execute_to_string(&gotmpl::Value::Nil);
        let undefined = matches!(result, Err(TemplateError::UndefinedFunction(_)));
        assert!(!undefined, "{name}");
    }
}

proptest::proptest! {
    #[test]
    fn no_template_panics(source in "([{}|$.:=\\-`\"() a-z0-9\n]|\\{\\{|\\}\\}|range|if|end|define|template){0,40}") {
        let _ = rendered(&source);
    }
}
