//! Dynamic metadata: written by one filter, read by RBAC, by header formats and by access logs.

use std::sync::Arc;

use bytes::Bytes;
use proxy::config::metadata::{Struct, Value};
use proxy::http::filter::{BodyStep, Step, Watch};

use super::mesh::{Mesh, Protocol, route};
use super::script::{Script, link};

fn fields(pairs: &[(&str, &str)]) -> Struct {
    let fields = pairs.iter();
    fields
        .map(|(key, value)| ((*key).into(), Value::String((*value).into())))
        .collect()
}

/// Says who the client is, and what its body begins with.
fn naming() -> Script {
    Script {
        request_head: Arc::new(|context, head| {
            let name = head.path.path().trim_start_matches('/').to_owned();
            context
                .metadata()
                .set("test.names", &fields(&[("name", &name)]));
            context.watch_body(Watch::Inspect);
            Step::Continue
        }),
        request_data: Arc::new(|context, data: &mut Bytes| {
            let text = std::str::from_utf8(data).unwrap();
            let body = fields(&[("body", text)]);
            context.metadata().set("test.names", &body);
            BodyStep::Continue
        }),
        ..Script::default()
    }
}

const RBAC: &str = "{ name: rbac, typed_config: { \
    \"@type\": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC, \
    rules: { action: DENY, policies: { named: { permissions: [{ any: true }], \
    principals: [{ metadata: { filter: test.names, path: [{ key: name }], \
    value: { string_match: { exact: mallory } } } }] } } } } }";

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_read_by_rbac_headers_and_logs() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let header = "response_headers_to_add: [{ header: { key: x-name, \
        value: \"%DYNAMIC_METADATA(test.names:name)%\" } }],";
    let mesh = Mesh {
        scripts: vec![("names", naming())],
        filters: vec![link("names", ""), RBAC.into()],
        routes: vec![route("/", "one", header)],
        manager: format!(
            "access_log: [{{ name: file, typed_config: {{ \
               \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, \
               path: \"{}\", log_format: {{ json_format: {{ \
               all: \"%DYNAMIC_METADATA(test.names)%\", \
               name: \"%DYNAMIC_METADATA(test.names:name):3%\", \
               none: \"%DYNAMIC_METADATA(test.none:name)%\", code: \"%RESPONSE_CODE%\" }} }} }} }}],",
            log.display()
        ),
        ..Mesh::default()
    };
    let running = mesh.start(Protocol::Http1).await;
    let alice = running.post(Protocol::Http1, "/alice", &["hi"], None).await;
    assert_eq!(
        (alice.brief(), alice.header("x-name")),
        ((200, "hi"), "alice")
    );
    let mallory = running
        .post(Protocol::Http2, "/mallory", &["hi"], None)
        .await;
    assert_eq!(mallory.brief(), (403, "RBAC: access denied"));
    assert_eq!(mallory.header("x-name"), "mallory");
    let counts = running.proxy.data_plane.registry.http_rbac.sums();
    assert_eq!(counts, [("http".into(), vec![1, 1])]);
    running.stop().await;
    let lines = std::fs::read_to_string(&log).unwrap();
    let mut lines: Vec<&str> = lines.lines().collect();
    lines.sort_unstable();
    let expected = [
        r#"{"all":{"body":"hi","name":"alice"},"code":200,"name":"ali","none":null}"#,
        r#"{"all":{"name":"mallory"},"code":403,"name":"mal","none":null}"#,
    ];
    assert_eq!(lines, expected);
}

/// Routes match on it when they are looked up again.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_read_by_routes() {
    let script = Script {
        request_head: Arc::new(|context, head| {
            let name = head.path.path().trim_start_matches('/').to_owned();
            context
                .metadata()
                .set("test.names", &fields(&[("name", &name)]));
            context.clear_route_cache();
            Step::Continue
        }),
        ..Script::default()
    };
    let alice = "{ match: { prefix: /, dynamic_metadata: [{ filter: test.names, \
        path: [{ key: name }], value: { string_match: { exact: alice } } }] }, \
        route: { cluster: two } }";
    let mesh = Mesh {
        scripts: vec![("names", script)],
        filters: vec![link("names", "")],
        routes: vec![alice.into(), route("/", "one", "")],
        ..Mesh::default()
    };
    let running = mesh.start(Protocol::Http1).await;
    for (path, upstream) in [("/alice", "two"), ("/bob", "one")] {
        let answer = running.get(Protocol::Http1, path).await;
        assert_eq!(answer.header("x-upstream"), upstream);
    }
    running.stop().await;
}
