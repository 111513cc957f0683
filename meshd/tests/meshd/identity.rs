//! Who gets a certificate over the wire.

use crate::support::{ControlPlane, TokenIssuer};
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
    // The certificate opens a connection, too.
    meshd.connect(Some(&workload)).await;
    meshd.stop().await;
}
