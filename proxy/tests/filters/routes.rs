//! What routes say to filters: off, on, and configured by the most specific level.

use std::sync::Arc;

use http::HeaderValue;
use proxy::config::metadata::Struct;
use proxy::http::filter::Step;

use super::mesh::{Mesh, PROTOCOLS, Protocol, route};
use super::script::{Script, config, link};

/// Tells in the response what the route says to it.
fn telling() -> Script {
    Script {
        response_head: Arc::new(|context, head| {
            let said = context.route_config::<Struct>();
            let said = said.and_then(|said| said.string("say")).unwrap_or("-");
            let said = HeaderValue::from_str(said).unwrap();
            head.headers.insert("x-said", said);
            Step::Continue
        }),
        ..Script::default()
    }
}

fn said(what: &str) -> String {
    let what = format!("say: {what}");
    format!("typed_per_filter_config: {{ a: {} }},", config("a", &what))
}

/// `FilterConfig` for the filter `a`.
fn flagged(fields: &str) -> String {
    format!(
        "typed_per_filter_config: {{ a: {{ \
           \"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig, {fields} }} }},"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_specific_level_is_told_and_flags_switch() {
    let unknown = "\"@type\": type.googleapis.com/xds.type.v3.TypedStruct, \
                   type_url: type.googleapis.com/test.Unknown";
    let routes = || {
        vec![
            route("/said", "one", &said("route")),
            route("/off", "one", &flagged("disabled: true")),
            route("/on", "one", &flagged("is_optional: false")),
            route(
                "/wrapped",
                "one",
                &flagged(&format!("config: {}", config("a", "say: wrapped"))),
            ),
            route(
                "/optional",
                "one",
                &flagged(&format!("is_optional: true, config: {{ {unknown} }}")),
            ),
            format!(
                "{{ match: {{ prefix: /weighted }}, {} route: {{ weighted_clusters: {{ \
                   clusters: [{{ name: one, weight: 1, {} }}] }} }} }}",
                said("outer"),
                said("weighted").trim_end_matches(','),
            ),
            route("/", "one", ""),
        ]
    };
    // By its flag in the chain the filter works everywhere, or only where a route says something to it.
    for (flag, elsewhere) in [("", "-"), ("disabled: true,", "")] {
        let mesh = Mesh {
            scripts: vec![("a", telling())],
            filters: vec![link("a", flag)],
            routes: routes(),
            ..Mesh::default()
        };
        let running = mesh.start(Protocol::Http1).await;
        for (path, expected) in [
            ("/said", "route"),
            ("/off", ""),
            ("/on", "-"),
            ("/wrapped", "wrapped"),
            ("/optional", elsewhere),
            ("/weighted", "weighted"),
            ("/", elsewhere),
        ] {
            for client in PROTOCOLS {
                let answer = running.get(client, path).await;
                assert_eq!(answer.header("x-said"), expected, "{path} {flag}");
            }
        }
        running.stop().await;
    }
}

/// A script that moves `/start` to another route.
fn moving(by: &'static str) -> Script {
    Script {
        request_head: Arc::new(move |context, head| {
            head.headers.insert("x-by", HeaderValue::from_static(by));
            context.clear_route_cache();
            Step::Continue
        }),
        ..Script::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_route_is_looked_up_again_before_the_next_filter() {
    let by = |by: &str, cluster: &str, more: &str| {
        format!(
            "{{ {more} match: {{ prefix: /, headers: [{{ name: x-by, \
               string_match: {{ exact: {by} }} }}] }}, route: {{ cluster: {cluster} }} }}"
        )
    };
    let mesh = Mesh {
        scripts: vec![("mover", moving("mover")), ("a", telling())],
        filters: vec![link("mover", ""), link("a", "")],
        routes: vec![by("mover", "two", &said("moved")), route("/", "one", "")],
        ..Mesh::default()
    };
    let running = mesh.start(Protocol::Http2).await;
    for client in PROTOCOLS {
        let answer = running.get(client, "/").await;
        assert_eq!(answer.header("x-upstream"), "two");
        assert_eq!(answer.header("x-said"), "moved");
    }
    running.stop().await;

    // A head without a route is answered as any other.
    let mesh = Mesh {
        scripts: vec![("mover", moving("nobody"))],
        filters: vec![link("mover", "")],
        routes: vec![format!(
            "{{ match: {{ prefix: /, headers: [{{ name: x-by, present_match: false }}] }}, \
               route: {{ cluster: one }} }}"
        )],
        ..Mesh::default()
    };
    let running = mesh.start(Protocol::Http1).await;
    assert_eq!(running.get(Protocol::Http1, "/").await.status, 404);
    running.stop().await;
}
