//! Who gets a certificate over the wire.

use crate::support::{ControlPlane, TokenIssuer};
use serde_json::{Value, json};
use tonic::Code;

#[tokio::test]
async fn a_token_of_ours_is_worth_a_certificate_and_a_foreign_one_is_not() {
    let meshd = ControlPlane::start("").await;
    let token = meshd.tokens.token("shop", "cart");
    let workload = meshd.certificate(&token).await.unwrap();
    assert!(workload.chain.starts_with("-----BEGIN CERTIFICATE-----"));

    let foreign = TokenIssuer::new().token("shop", "cart");
    let status = meshd.certificate(&foreign).await.err().unwrap();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(
        status.message(),
        "bearer token: the token's signature does not verify"
    );
    // Who looks at proxies sees that, until the caller is served.
    let refused = async || {
        let (_, page) = meshd.get("/debug/refusedz").await;
        serde_json::from_str::<Value>(&page).unwrap()
    };
    let callers = refused().await;
    assert_eq!(callers[0]["ip"], "127.0.0.1");
    assert_eq!(callers[0]["reason"], status.message());
    assert_eq!(callers[0]["times"], 1);
    meshd.certificate(&token).await.unwrap();
    assert_eq!(refused().await, json!([]));
    // The certificate opens a connection, too.
    meshd.connect(Some(&workload)).await;
    meshd.stop().await;
}
