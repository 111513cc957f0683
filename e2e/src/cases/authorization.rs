//! Case 7: AuthorizationPolicy, with bookinfo's chain of viewers and with each kind of rule.

use anyhow::Result;

use super::{PROBES, in_force, open_bookinfo};
use crate::{assert, mesh::Mesh, traffic::Traffic};

const DENIED: &str = "RBAC: access denied";
const CLIENT: &str = "apps/client";

const ALLOW_NOTHING: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: allow-nothing, namespace: default}
spec: {}
";

/// Lets `callers` read `app`; without callers, everybody.
fn viewer(app: &str, caller: Option<&str>) -> String {
    let from = caller.map_or(String::new(), |caller| {
        format!("    from: [{{source: {{principals: [\"cluster.local/ns/default/sa/bookinfo-{caller}\"]}}}}]\n")
    });
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
         metadata: {{name: {app}-viewer, namespace: default}}\n\
         spec:\n  selector: {{matchLabels: {{app: {app}}}}}\n  action: ALLOW\n  rules:\n\
         \x20 - to: [{{operation: {{methods: [GET]}}}}]\n{from}"
    )
}

pub(super) fn run(mesh: &mut Mesh) -> Result<()> {
    viewer_chain(mesh)?;
    mesh.reset()?;
    rules(mesh)?;
    mesh.reset()?;
    identities(mesh)?;
    debug_pages(mesh)
}

/// Nothing is allowed, then hop by hop the page fills.
fn viewer_chain(mesh: &mut Mesh) -> Result<()> {
    open_bookinfo(mesh)?;
    mesh.apply_bookinfo("destination-rule-all")?;
    mesh.apply_bookinfo("virtual-service-reviews-v3")?;
    mesh.apply(ALLOW_NOTHING)?;
    in_force("denial of everything", || {
        let report = mesh.ingress("/productpage").count(PROBES).send()?;
        assert::all(&report, "403")?;
        assert::contains(&report.first()?.body, DENIED)
    })?;
    mesh.wait_for_log("default/productpage", "the denial in the log", |line| {
        line.contains(" 403 ") && line.contains("rbac_access_denied_matched_policy[none]")
    })?;
    let steps = [
        ("productpage", None, "Error fetching product details"),
        (
            "details",
            Some("productpage"),
            "Error fetching product reviews",
        ),
        (
            "reviews",
            Some("productpage"),
            "Ratings service is currently unavailable",
        ),
        ("ratings", Some("reviews"), "glyphicon-star"),
    ];
    for (app, caller, sign) in steps {
        mesh.apply(&viewer(app, caller))?;
        in_force(&format!("the viewer of {app}"), || {
            let report = mesh.ingress("/productpage").count(3).send()?;
            assert::all(&report, "200")?;
            assert::contains(&report.first()?.body, sign)
        })?;
    }
    // Not at once: a connection from before a change answers one more request by the rules before it.
    in_force("the whole page", || {
        let report = mesh.ingress("/productpage").count(50).send()?;
        assert::all(&report, "200")?;
        let page = &report.first()?.body;
        ["Book Details", "Book Reviews", "text-red-500"]
            .iter()
            .try_for_each(|sign| assert::contains(page, sign))
    })?;
    // Others than the callers named stay outside.
    settles("403", "a caller that is not named", || {
        mesh.from(CLIENT, "http://ratings.default:9080/ratings/0")
    })
}

const RULES: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny-some, namespace: apps}
spec:
  selector: {matchLabels: {app: echo}}
  action: DENY
  rules:
  - to: [{operation: {methods: [DELETE]}}]
  - to: [{operation: {paths: ["/admin", "/private/*", "*.secret"]}}]
  - to: [{operation: {ports: ["8082"]}}]
  - when: [{key: "request.headers[x-role]", values: ["intruder"]}]
  - from: [{source: {namespaces: ["default"]}}]
    to: [{operation: {paths: ["/not-for-default"]}}]
"#;

fn rules(mesh: &mut Mesh) -> Result<()> {
    mesh.apply(RULES)?;
    let url = |path: &str| format!("http://echo.apps:8080{path}");
    in_force("the denials", || {
        let report = mesh.from(CLIENT, &url("/admin"))?.count(PROBES).send()?;
        assert::all(&report, "403")?;
        assert::contains(&report.first()?.body, DENIED)
    })?;
    mesh.wait_for_log("apps/echo", "the policy in the log", |line| {
        line.contains("rbac_access_denied_matched_policy[ns[apps]-policy[deny-some]-rule[1]]")
    })?;
    for (path, status) in [
        ("/", "200"),
        ("/admin/x", "200"),
        ("/private/x", "403"),
        // Normalised before it is matched.
        ("/public/../private/x", "403"),
        ("/file.secret", "403"),
        ("/not-for-default", "200"),
    ] {
        settles(status, path, || mesh.from(CLIENT, &url(path)))?;
    }
    settles("403", "method", || {
        Ok(mesh.from(CLIENT, &url("/"))?.with("--method", "DELETE"))
    })?;
    settles("403", "a role that is denied", || {
        Ok(mesh.from(CLIENT, &url("/"))?.header("x-role: intruder"))
    })?;
    settles("200", "another role", || {
        Ok(mesh.from(CLIENT, &url("/"))?.header("x-role: reader"))
    })?;
    settles("403", "port", || {
        mesh.from(CLIENT, "http://echo.apps:8082/")
    })?;
    settles("403", "namespace", || {
        mesh.from("default/details", &url("/not-for-default"))
    })
}

/// Waits for answers of `status` alone: a connection from before a change answers one more request by the old rules,
/// as it ends.
fn settles<'m>(status: &str, what: &str, traffic: impl Fn() -> Result<Traffic<'m>>) -> Result<()> {
    in_force(&format!("{status} by {what}"), || {
        assert::all(&traffic()?.count(5).send()?, status)
    })
}

const IDENTITIES: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: allow-some, namespace: apps}
spec:
  selector: {matchLabels: {app: echo}}
  action: ALLOW
  rules:
  - from: [{source: {principals: ["cluster.local/ns/apps/sa/client"]}}]
  - from: [{source: {namespaces: ["default"], notPrincipals: ["cluster.local/ns/default/sa/bookinfo-ratings"]}}]
    to: [{operation: {methods: [GET], paths: ["/open"]}}]
"#;

fn identities(mesh: &mut Mesh) -> Result<()> {
    mesh.apply(IDENTITIES)?;
    let open = "http://echo.apps:8080/open";
    in_force("the allowed identities", || {
        let report = mesh.from("default/ratings", open)?.count(PROBES).send()?;
        assert::all(&report, "403")
    })?;
    for (from, url, status) in [
        (CLIENT, "http://echo.apps:8080/anything", "200"),
        ("default/details", open, "200"),
        ("default/details", "http://echo.apps:8080/closed", "403"),
        ("default/ratings", open, "403"),
        // Without a certificate there is no identity to allow.
        ("outside/stranger", open, "403"),
    ] {
        settles(status, &format!("{from} at {url}"), || mesh.from(from, url))?;
    }
    // TCP knows identities too: the connection of one that is not allowed is closed.
    let allowed = mesh.tcp_from(CLIENT, "echo.apps:9000")?.count(5).send()?;
    assert::all(&allowed, "ok")?;
    super::all_reset(
        &mesh
            .tcp_from("default/ratings", "echo.apps:9000")?
            .count(5)
            .send()?,
    )
}

/// What the control plane shows of the whole mesh is not for every pod; what Prometheus reads is.
fn debug_pages(mesh: &Mesh) -> Result<()> {
    const CONTROL_PLANE: &str = "http://istiod.istio-system:15014";
    for from in [CLIENT, "outside/stranger"] {
        for (page, status) in [
            ("/debug/syncz", "401"),
            ("/debug/config_dump?proxy=echo.apps", "401"),
            ("/debug/registryz", "401"),
            ("/logging?level=trace", "401"),
            ("/metrics", "200"),
        ] {
            let url = format!("{CONTROL_PLANE}{page}");
            let claimed = "x-forwarded-for: 127.0.0.1";
            let report = mesh.from(from, &url)?.header(claimed).count(2).send()?;
            assert::all(&report, status)?;
        }
    }
    // A port-forward is the control plane's own machine.
    let status = mesh.cluster().meshctl(&["proxy-status"])?;
    assert::contains(&status.out, "echo")
}
