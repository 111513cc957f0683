use std::path::Path;

use rstest::rstest;

use crate::manifest;

/// A Deployment with one wrong line among right ones; the name of the container is on line 12.
fn deployment(change: impl Fn(&str) -> String) -> String {
    change(
        "apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      initContainers:
      - name: init
        image: debian
      containers:
      - name: app
        image: debian
        workingDir: /srv
        volumeMounts:
        - name: data
          mountPath: /data
          subPath: a/b
        - name: data
          mountPath: /by-pod
          subPathExpr: logs/$(POD)
      serviceAccountName: web
      hostname: web
      subdomain: webs
      volumes:
      - name: data
        emptyDir: {}
      - name: settings
        configMap:
          name: settings
          defaultMode: 0644
          items:
          - key: k
            path: sub/k
      - name: keys
        secret:
          secretName: keys
          items:
          - key: k
            path: deep/secret
      - name: info
        downwardAPI:
          items:
          - path: labels
            fieldRef: {fieldPath: metadata.labels}
      - name: all
        projected:
          sources:
          - configMap:
              name: settings
              items:
              - key: k
                path: projected/config
          - secret:
              name: keys
              items:
              - key: k
                path: projected/secret
          - downwardAPI:
              items:
              - path: projected/labels
                fieldRef: {fieldPath: metadata.labels}
          - serviceAccountToken:
              path: token
              expirationSeconds: 3600
",
    )
}

/// The manifest's problems, with a neighbour behind it that must stay.
fn problems(text: &str) -> Vec<String> {
    let neighbour = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: neighbour}\n";
    let found = manifest::parse(&format!("{text}{neighbour}"), Path::new("f.yaml"), "shop");
    let names: Vec<_> = found.objects.iter().map(|o| o.key.name.as_str()).collect();
    assert_eq!(names.last(), Some(&"neighbour"), "{names:?}");
    let refused = usize::from(!found.errors.is_empty());
    assert_eq!(names.len() + refused, 2, "{names:?}");
    found.errors.iter().map(ToString::to_string).collect()
}

#[test]
fn what_kubernetes_takes_is_taken() {
    assert_eq!(problems(&deployment(str::to_owned)), Vec::<String>::new());
}

#[rstest]
#[case::container(
    "name: app",
    "name: ../../x",
    15,
    "spec.template.spec.containers[0].name",
    "write \"x\" instead"
)]
#[case::container_with_a_line_break(
    "name: app",
    "name: \"a\\nb\"",
    15,
    "spec.template.spec.containers[0].name",
    "write \"a-b\" instead"
)]
#[case::same_container(
    "name: app",
    "name: init",
    15,
    "spec.template.spec.containers[0].name",
    "write one of its own"
)]
#[case::no_container_name(
    "name: app",
    "name: \"\"",
    15,
    "spec.template.spec.containers[0].name",
    "write \"my-name\" instead"
)]
#[case::init_container(
    "name: init",
    "name: /etc/cron.d/x",
    12,
    "spec.template.spec.initContainers[0].name",
    "write \"etc-cron-d-x\" instead"
)]
#[case::working_dir(
    "workingDir: /srv",
    "workingDir: srv",
    17,
    "spec.template.spec.containers[0].workingDir",
    "write \"/srv\" instead"
)]
#[case::mount(
    "- name: data\n          mountPath: /data",
    "- name: ../data\n          mountPath: /data",
    19,
    "spec.template.spec.containers[0].volumeMounts[0].name",
    "write \"data\" instead"
)]
#[case::mount_path(
    "mountPath: /data",
    "mountPath: data",
    20,
    "spec.template.spec.containers[0].volumeMounts[0].mountPath",
    "write \"/data\" instead"
)]
#[case::mount_path_with_colon(
    "mountPath: /data",
    "mountPath: \"/data:ro\"",
    20,
    "spec.template.spec.containers[0].volumeMounts[0].mountPath",
    "without it"
)]
#[case::mount_path_up(
    "mountPath: /data",
    "mountPath: /data/../etc",
    20,
    "spec.template.spec.containers[0].volumeMounts[0].mountPath",
    "such as \"/data/etc\""
)]
#[case::mount_path_root(
    "mountPath: /data",
    "mountPath: /",
    20,
    "spec.template.spec.containers[0].volumeMounts[0].mountPath",
    "such as \"/dir\""
)]
#[case::mount_path_reserved(
    "mountPath: /data",
    "mountPath: /.host/etc/cron.d",
    20,
    "spec.template.spec.containers[0].volumeMounts[0].mountPath",
    "outside \"/.host\""
)]
#[case::sub_path(
    "subPath: a/b",
    "subPath: a/../../b",
    21,
    "spec.template.spec.containers[0].volumeMounts[0].subPath",
    "such as \"a/b\""
)]
#[case::sub_path_absolute(
    "subPath: a/b",
    "subPath: /a/b",
    21,
    "spec.template.spec.containers[0].volumeMounts[0].subPath",
    "such as \"a/b\""
)]
#[case::sub_path_expr(
    "subPathExpr: logs/",
    "subPathExpr: ../logs/",
    24,
    "spec.template.spec.containers[0].volumeMounts[1].subPathExpr",
    "leads out of the volume"
)]
#[case::both_sub_paths(
    "subPath: a/b",
    "subPath: a/b\n          subPathExpr: c",
    22,
    "spec.template.spec.containers[0].volumeMounts[0].subPathExpr",
    "only one of them"
)]
#[case::service_account(
    "serviceAccountName: web",
    "serviceAccountName: web:admin",
    25,
    "spec.template.spec.serviceAccountName",
    "write \"web-admin\" instead"
)]
#[case::hostname(
    "hostname: web",
    "hostname: -F/etc/shadow",
    26,
    "spec.template.spec.hostname",
    "write \"f-etc-shadow\" instead"
)]
#[case::subdomain(
    "subdomain: webs",
    "subdomain: ..",
    27,
    "spec.template.spec.subdomain",
    "write \"my-name\" instead"
)]
#[case::volume(
    "- name: settings\n",
    "- name: ../settings\n",
    31,
    "spec.template.spec.volumes[1].name",
    "write \"settings\" instead"
)]
#[case::same_volume(
    "- name: settings\n",
    "- name: data\n",
    31,
    "spec.template.spec.volumes[1].name",
    "write one of its own"
)]
#[case::mode(
    "defaultMode: 0644",
    "defaultMode: 04755",
    34,
    "spec.template.spec.volumes[1].configMap.defaultMode",
    "is not a file mode"
)]
#[case::config_map_path(
    "path: sub/k",
    "path: ../../k",
    37,
    "spec.template.spec.volumes[1].configMap.items[0].path",
    "such as \"k\""
)]
#[case::config_map_path_absolute(
    "path: sub/k",
    "path: /etc/k",
    37,
    "spec.template.spec.volumes[1].configMap.items[0].path",
    "such as \"etc/k\""
)]
#[case::config_map_path_reserved(
    "path: sub/k",
    "path: ..data",
    37,
    "spec.template.spec.volumes[1].configMap.items[0].path",
    "write \"data\" instead"
)]
#[case::config_map_path_missing(
    "path: sub/k",
    "path: \"\"",
    37,
    "spec.template.spec.volumes[1].configMap.items[0].path",
    "a path is missing"
)]
#[case::secret_path(
    "path: deep/secret",
    "path: deep/../../secret",
    43,
    "spec.template.spec.volumes[2].secret.items[0].path",
    "such as \"deep/secret\""
)]
#[case::downward_path(
    "path: labels",
    "path: ../labels",
    47,
    "spec.template.spec.volumes[3].downwardAPI.items[0].path",
    "such as \"labels\""
)]
#[case::projected_config_map(
    "path: projected/config",
    "path: ../config",
    56,
    "spec.template.spec.volumes[4].projected.sources[0].configMap.items[0].path",
    "such as \"config\""
)]
#[case::projected_secret(
    "path: projected/secret",
    "path: ../secret",
    61,
    "spec.template.spec.volumes[4].projected.sources[1].secret.items[0].path",
    "such as \"secret\""
)]
#[case::projected_downward(
    "path: projected/labels",
    "path: /labels",
    64,
    "spec.template.spec.volumes[4].projected.sources[2].downwardAPI.items[0].path",
    "such as \"labels\""
)]
#[case::token(
    "path: token",
    "path: ../token",
    67,
    "spec.template.spec.volumes[4].projected.sources[3].serviceAccountToken.path",
    "such as \"token\""
)]
#[case::token_lifetime(
    "expirationSeconds: 3600",
    "expirationSeconds: 9223372036854775807",
    68,
    "spec.template.spec.volumes[4].projected.sources[3].serviceAccountToken.expirationSeconds",
    "from 600 to 4294967296"
)]
#[case::name(
    "  name: web\n",
    "  name: ../web\n",
    4,
    "metadata.name",
    "write \"web\" instead"
)]
#[case::namespace(
    "namespace: shop",
    "namespace: ../shop",
    5,
    "metadata.namespace",
    "write \"shop\" instead"
)]
#[case::namespace_with_dots(
    "namespace: shop",
    "namespace: a.b",
    5,
    "metadata.namespace",
    "write \"a-b\" instead"
)]
fn a_field_that_leads_out_is_named_with_its_line_and_what_to_write(
    #[case] right: &str,
    #[case] wrong: &str,
    #[case] line: usize,
    #[case] field: &str,
    #[case] advice: &str,
) {
    let text = deployment(|text| {
        assert!(text.contains(right));
        text.replacen(right, wrong, 1)
    });
    let problems = problems(&text);
    let [problem] = problems.as_slice() else {
        panic!("{problems:#?}");
    };
    let begin = format!("f.yaml:{line}: {field}: ");
    assert!(problem.starts_with(&begin), "{problem}");
    assert!(problem.contains(advice), "{problem}");
}

#[rstest]
#[case::config_map("ConfigMap", "data", "../../etc/cron.d/x")]
#[case::binary("ConfigMap", "binaryData", "a/b")]
#[case::secret("Secret", "data", "..")]
#[case::string("Secret", "stringData", "..data")]
#[case::dot("Secret", "stringData", ".")]
#[case::empty("ConfigMap", "data", "")]
#[case::line_break("ConfigMap", "data", "a\nb")]
fn keys_become_file_names(#[case] kind: &str, #[case] map: &str, #[case] key: &str) {
    let text = format!(
        "apiVersion: v1\nkind: {kind}\nmetadata: {{name: x}}\n{map}:\n  fine_Key-1.txt: eA==\n  {key:?}: eA==\n"
    );
    let problems = problems(&text);
    let [problem] = problems.as_slice() else {
        panic!("{problems:#?}");
    };
    let expected = format!("f.yaml:6: {map}[{key:?}]: {key:?} is not a key");
    assert!(problem.starts_with(&expected), "{problem}");
}

#[rstest]
#[case("StatefulSet", "apps/v1")]
#[case("DaemonSet", "apps/v1")]
#[case("Pod", "v1")]
fn every_workload_takes_the_same_door(#[case] kind: &str, #[case] version: &str) {
    let spec = "{containers: [{name: ../x}]}";
    let (spec, field) = match kind {
        "Pod" => (spec.to_owned(), "spec.containers[0].name"),
        _ => (
            format!("{{selector: {{}}, template: {{spec: {spec}}}}}"),
            "spec.template.spec.containers[0].name",
        ),
    };
    let text =
        format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: x}}\nspec: {spec}\n");
    let problems = problems(&text);
    assert!(
        problems.len() == 1 && problems[0].starts_with(&format!("f.yaml:4: {field}: ")),
        "{problems:#?}"
    );
}

#[rstest]
#[case("Namespace", "v1", "a.b", false)]
#[case("Service", "v1", "a.b", false)]
#[case("ConfigMap", "v1", "a.b", true)]
#[case("ConfigMap", "v1", "a/../b", false)]
#[case("Gateway", "networking.istio.io/v1", "A", false)]
#[case("ClusterRole", "rbac.authorization.k8s.io/v1", "system:weft", true)]
#[case("ClusterRole", "rbac.authorization.k8s.io/v1", "../x", false)]
#[case("../Kind", "v1", "x", false)]
#[case("Gateway", "../v1", "x", false)]
fn names_follow_their_kinds(
    #[case] kind: &str,
    #[case] version: &str,
    #[case] name: &str,
    #[case] allowed: bool,
) {
    let text = format!("apiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {name}\n");
    assert_eq!(problems(&text).is_empty(), allowed, "{:?}", problems(&text));
}
