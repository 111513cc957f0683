use serde_json::json;

use super::*;

fn roles() -> Value {
    json!({"items": [
        {"metadata": {"name": "reader"}, "rules": [
            {"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["list"]},
            {"apiGroups": ["apps"], "resources": ["deployments/status"], "verbs": ["patch"]},
        ]},
        {"metadata": {"name": "writer", "namespace": "system"}, "rules": [
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a", "b"], "verbs": ["create", "patch"]},
        ]},
    ]})
}

const BY_READER: &str = r#"RBAC: allowed by ClusterRoleBinding "one" of ClusterRole "reader" to ServiceAccount "s/system""#;
const BY_WRITER: &str =
    r#"RBAC: allowed by RoleBinding "two/system" of Role "writer" to ServiceAccount "s/system""#;

fn event(verb: &str, object: Value, code: u64, reason: &str) -> String {
    let decision = if reason.is_empty() { "forbid" } else { "allow" };
    json!({
        "stage": "ResponseComplete",
        "verb": verb,
        "user": {"username": "system:serviceaccount:system:s"},
        "objectRef": object,
        "responseStatus": {"code": code},
        "annotations": {
            "authorization.k8s.io/decision": decision,
            "authorization.k8s.io/reason": reason,
        },
    })
    .to_string()
}

fn unused_after(events: &[String]) -> Vec<String> {
    let requests = Request::read_all(&events.join("\n")).unwrap();
    let unused = unused(&granted(&roles()), &requests);
    unused.iter().map(Permission::to_string).collect()
}

#[test]
fn without_requests_nothing_is_used() {
    assert_eq!(
        unused_after(&[]),
        [
            "ClusterRole reader: list core/nodes",
            "ClusterRole reader: list core/pods",
            "ClusterRole reader: patch apps/deployments/status",
            "Role system/writer: create core/secrets \"a\"",
            "Role system/writer: create core/secrets \"b\"",
            "Role system/writer: patch core/secrets \"a\"",
            "Role system/writer: patch core/secrets \"b\"",
        ]
    );
}

#[test]
fn a_request_uses_the_permission_of_the_role_that_allowed_it() {
    let status = json!({"apiGroup": "apps", "resource": "deployments", "subresource": "status", "name": "d"});
    let events = [
        event("list", json!({"resource": "pods"}), 200, BY_READER),
        event("patch", status, 200, BY_READER),
        event("list", json!({"resource": "nodes"}), 200, BY_WRITER),
        event(
            "patch",
            json!({"resource": "secrets", "name": "a"}),
            200,
            BY_WRITER,
        ),
    ];
    assert_eq!(
        unused_after(&events),
        [
            "ClusterRole reader: list core/nodes",
            "Role system/writer: create core/secrets \"a\"",
            "Role system/writer: create core/secrets \"b\"",
            "Role system/writer: patch core/secrets \"b\"",
        ]
    );
}

#[test]
fn an_apply_that_makes_the_object_creates_as_well() {
    let secret = |name: &str| json!({"resource": "secrets", "name": name});
    let events = [
        event("list", json!({"resource": "pods"}), 200, BY_READER),
        event("patch", secret("a"), 201, BY_WRITER),
        event("patch", secret("b"), 200, BY_WRITER),
    ];
    let unused = unused_after(&events);
    assert!(!unused.contains(&"Role system/writer: create core/secrets \"a\"".to_owned()));
    assert!(unused.contains(&"Role system/writer: create core/secrets \"b\"".to_owned()));
}

#[test]
fn what_the_authorizer_refuses_is_forbidden_and_what_admission_refuses_is_not() {
    let log = [
        event("get", json!({"resource": "secrets", "name": "c"}), 403, ""),
        event(
            "patch",
            json!({"resource": "secrets", "name": "a"}),
            403,
            BY_WRITER,
        ),
    ];
    let requests = Request::read_all(&log.join("\n")).unwrap();
    let forbidden: Vec<bool> = requests.iter().map(|request| request.forbidden).collect();
    assert_eq!(forbidden, [true, false]);
}

#[test]
fn a_line_that_is_not_an_event_is_an_error() {
    assert!(Request::read_all("{\"kind\": \"Event\"").is_err());
}

#[test]
fn who_watches_may_list() {
    let roles = json!({"items": [{"metadata": {"name": "reader"}, "rules": [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
    ]}]});
    let watched = event("watch", json!({"resource": "pods"}), 200, BY_READER);
    let requests = Request::read_all(&watched).unwrap();
    assert_eq!(unused(&granted(&roles), &requests), []);
    assert_eq!(unused(&granted(&roles), &[]).len(), 2);
}

#[test]
fn what_was_allowed_before_is_not_forbidden() {
    let pods = || json!({"resource": "pods"});
    let [allowed, refused] = [
        event("list", pods(), 200, BY_READER),
        event("list", pods(), 403, ""),
    ];
    let requests = Request::read_all(&format!("{allowed}\n{refused}")).unwrap();
    assert_eq!(forbidden(&requests), Vec::<&Request>::new());
    assert_eq!(forbidden(&requests[1..]), [&requests[1]]);
}
