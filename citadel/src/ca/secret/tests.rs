//! The Secrets as a mocked API server has them.

use http::{Method, Request, Response, StatusCode};
use kube::client::Body;
use serde_json::{Value, json};
use tower_test::mock::{self, Handle};

use super::*;
use crate::clock::Clock;
use crate::issue::Lifetimes;

type Server = Handle<Request<Body>, Response<Body>>;

fn secrets() -> (CaSecrets, Server) {
    let (service, server) = mock::pair();
    let client = Client::new(service, "default");
    (CaSecrets::new(client, "istio-system"), server)
}

fn config() -> CaConfig {
    CaConfig {
        trust_domain: "cluster.local".parse().unwrap(),
        lifetimes: Lifetimes::default(),
        announcement: time::Duration::ZERO,
        clock: Clock::system(),
    }
}

fn files() -> CaFiles {
    self_signed::create("cluster.local", config().clock.now()).unwrap()
}

/// Answers one request; gives back its method, the last part of its path, and its body.
async fn answer(server: &mut Server, code: u16, body: Value) -> (Method, String, Value) {
    let (request, respond) = server.next_request().await.unwrap();
    let (parts, sent) = request.into_parts();
    let response = Response::builder().status(StatusCode::from_u16(code).unwrap());
    let body = Body::from(serde_json::to_vec(&body).unwrap());
    respond.send_response(response.body(body).unwrap());
    let last = parts.uri.path().rsplit('/').next().unwrap_or_default();
    let sent = sent.collect_bytes().await.unwrap();
    let sent = serde_json::from_slice(&sent).unwrap_or(Value::Null);
    (parts.method, last.to_owned(), sent)
}

fn status(reason: &str, code: u16) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": reason, "reason": reason, "code": code,
    })
}

async fn not_found(server: &mut Server, name: &str) {
    let (method, path, _) = answer(server, 404, status("NotFound", 404)).await;
    assert_eq!((method, path.as_str()), (Method::GET, name));
}

fn secret(files: &CaFiles) -> Value {
    serde_json::to_value(to_secret("any", files)).unwrap()
}

#[tokio::test]
async fn a_plugged_in_ca_wins() {
    let (secrets, mut server) = secrets();
    let files = files();
    let (ca, request) = tokio::join!(
        secrets.open(config(), Metrics::default()),
        answer(&mut server, 200, secret(&files))
    );
    assert_eq!((request.0, request.1), (Method::GET, PLUGGED_IN.to_owned()));
    assert!(ca.unwrap().is_in_force(&files));
}

#[tokio::test]
async fn where_there_is_none_a_root_is_made() {
    let (secrets, mut server) = secrets();
    let script = async {
        not_found(&mut server, PLUGGED_IN).await;
        not_found(&mut server, SELF_SIGNED).await;
        answer(&mut server, 201, secret(&files())).await
    };
    let (ca, (method, _, created)) =
        tokio::join!(secrets.open(config(), Metrics::default()), script);
    assert_eq!(method, Method::POST);
    let created: Secret = serde_json::from_value(created).unwrap();
    assert!(ca.unwrap().is_in_force(&from_secret(&created).unwrap()));
}

#[tokio::test]
async fn of_two_replicas_that_make_a_root_the_second_reads_the_firsts() {
    let (secrets, mut server) = secrets();
    let firsts = files();
    let script = async {
        not_found(&mut server, PLUGGED_IN).await;
        not_found(&mut server, SELF_SIGNED).await;
        answer(&mut server, 409, status("AlreadyExists", 409)).await;
        answer(&mut server, 200, secret(&firsts)).await
    };
    let (ca, _) = tokio::join!(secrets.open(config(), Metrics::default()), script);
    assert!(ca.unwrap().is_in_force(&firsts));
}

#[tokio::test]
async fn half_a_ca_stops_the_start_instead_of_making_another() {
    let (secrets, mut server) = secrets();
    let half = json!({"data": {"ca-cert.pem": "Y2VydA=="}});
    let (opened, _) = tokio::join!(
        secrets.open(config(), Metrics::default()),
        answer(&mut server, 200, half)
    );
    assert!(matches!(
        opened,
        Err(SecretError::Incomplete {
            name: PLUGGED_IN,
            ..
        })
    ));
}

#[tokio::test]
async fn the_seen_secret_is_taken_over_and_the_plugged_in_one_goes_first() {
    let (secrets, _server) = secrets();
    let (made, plugged) = (files(), files());
    let ca = Ca::new(config(), SELF_SIGNED, made.clone(), Metrics::default()).unwrap();
    let mut seen = Seen::new();
    note(&mut seen, SELF_SIGNED, Some(to_secret(SELF_SIGNED, &made)));
    note(&mut seen, PLUGGED_IN, Some(to_secret(PLUGGED_IN, &plugged)));
    secrets.step(&ca, &mut seen, false).await.unwrap();
    assert!(ca.is_in_force(&plugged));
    // Gone is not the same as replaced.
    note(&mut seen, PLUGGED_IN, None);
    secrets.step(&ca, &mut seen, false).await.unwrap();
    assert!(ca.is_in_force(&plugged));
}

#[tokio::test]
async fn only_the_leader_renews_and_only_the_version_it_has_seen() {
    let (secrets, mut server) = secrets();
    let old = self_signed::create(
        "cluster.local",
        config().clock.now() - time::Duration::days(3_000),
    )
    .unwrap();
    let ca = Ca::new(config(), SELF_SIGNED, old.clone(), Metrics::default()).unwrap();
    let mut secret_seen = to_secret(SELF_SIGNED, &old);
    secret_seen.metadata.resource_version = Some("7".to_owned());
    let mut seen = Seen::from([(SELF_SIGNED, Some(secret_seen))]);

    secrets.step(&ca, &mut seen, false).await.unwrap();
    assert!(ca.is_in_force(&old));
    let (stepped, (method, path, replaced)) = tokio::join!(
        secrets.step(&ca, &mut seen, true),
        answer(&mut server, 200, secret(&old))
    );
    stepped.unwrap();
    assert_eq!((method, path.as_str()), (Method::PUT, SELF_SIGNED));
    assert_eq!(replaced["metadata"]["resourceVersion"], "7");
    assert_eq!(ca.trust_bundle().roots().len(), 2);
}
