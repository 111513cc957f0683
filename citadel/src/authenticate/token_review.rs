//! Service-account tokens, vouched for by the API server (TokenReview).
//!
//! The API server alone knows whether the pod that a token is bound to still exists. Its yes is remembered
//! for a minute, and never beyond the token's own end; its no is not, so that a mended clock or account is
//! seen at once. What can be refused by reading the token is refused without asking: the claims are not
//! verified then, but nobody gains by forging a token that is refused. Where the API server cannot be asked,
//! nobody is accepted.

mod cache;

use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::authentication::v1::{
    TokenReview, TokenReviewSpec, TokenReviewStatus, UserInfo,
};
use kube::api::PostParams;
use kube::{Api, Client};
use mesh_api::identity::{SpiffeId, TrustDomain};
use serde::Deserialize;
use time::OffsetDateTime;
use tokio::sync::Semaphore;

use self::cache::Cache;
use super::token::{self, AUDIENCE, TOKEN_BYTES_MAX, TokenError};
use crate::clock::Clock;

/// How long the API server may take. A proxy waits for its first certificate, and asks again by itself.
const REVIEW_TIMEOUT: Duration = Duration::from_secs(5);

/// Reviews under way at once; a storm of starting pods queues here rather than in the API server.
const REVIEWS_MAX: usize = 64;

/// What the API server tells of the pod that a token is bound to.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// Asks the API server about tokens.
#[derive(Debug)]
pub struct TokenReviewer {
    reviews: Api<TokenReview>,
    trust_domain: TrustDomain,
    clock: Clock,
    cache: Mutex<Cache>,
    permits: Semaphore,
}

impl TokenReviewer {
    /// Reviews through `client`; identities are of `trust_domain`.
    pub fn new(client: Client, trust_domain: TrustDomain, clock: Clock) -> Self {
        Self {
            reviews: Api::all(client),
            trust_domain,
            clock,
            cache: Mutex::default(),
            permits: Semaphore::new(REVIEWS_MAX),
        }
    }

    /// The service account that a token speaks for.
    ///
    /// # Errors
    /// When the token is refused, or the API server cannot be asked.
    pub async fn verify(&self, token: &str) -> Result<SpiffeId, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong(token.len()));
        }
        let now = self.clock.now();
        let claims = Claims::read(token)?;
        claims.check(now)?;
        let key = cache::key(token);
        if let Some(identity) = self.cache().get(&key, now) {
            return Ok(identity);
        }
        let identity = self.identity(self.review(token).await?)?;
        let token_end = OffsetDateTime::from_unix_timestamp(claims.exp).unwrap_or(now);
        self.cache().put(key, identity.clone(), now, token_end);
        Ok(identity)
    }

    async fn review(&self, token: &str) -> Result<TokenReviewStatus, TokenError> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: token.to_owned(),
                audiences: Some(vec![AUDIENCE.to_owned()]),
            },
            ..TokenReview::default()
        };
        let params = PostParams::default();
        let asking = async {
            // The semaphore is never closed; should it be, the review is made all the same.
            let _permit = self.permits.acquire().await;
            self.reviews.create(&params, &review).await
        };
        match tokio::time::timeout(REVIEW_TIMEOUT, asking).await {
            Ok(Ok(review)) => Ok(review.status.unwrap_or_default()),
            Ok(Err(error)) => {
                tracing::warn!(%error, "a token could not be reviewed");
                Err(TokenError::Unavailable(reason(&error)))
            }
            Err(_) => {
                tracing::warn!("a token was not reviewed in time");
                let seconds = REVIEW_TIMEOUT.as_secs();
                Err(TokenError::Unavailable(format!(
                    "no answer within {seconds} s"
                )))
            }
        }
    }

    fn identity(&self, status: TokenReviewStatus) -> Result<SpiffeId, TokenError> {
        if status.authenticated != Some(true) {
            return Err(TokenError::Refused(
                status.error.unwrap_or_else(|| "no reason given".to_owned()),
            ));
        }
        // An API server that does not know audiences says yes without naming one.
        let audiences = status.audiences.unwrap_or_default();
        if !audiences.iter().any(|audience| audience == AUDIENCE) {
            return Err(TokenError::Audience(AUDIENCE.to_owned()));
        }
        let user = status.user.unwrap_or_default();
        let username = user.username.clone().unwrap_or_default();
        let (namespace, account) = token::service_account(&username)?;
        tracing::debug!(
            user = username,
            pod = extra(&user, POD_NAME),
            pod_uid = extra(&user, POD_UID),
            "token reviewed"
        );
        SpiffeId::new(self.trust_domain.clone(), namespace, account)
            .map_err(|_| TokenError::Subject("a name is not valid in a SPIFFE id"))
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        // A panic while it was held left whole entries behind.
        self.cache
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn extra<'a>(user: &'a UserInfo, key: &str) -> &'a str {
    let values = user.extra.as_ref().and_then(|extra| extra.get(key));
    values
        .and_then(|values| values.first())
        .map_or("", String::as_str)
}

/// For the proxy's log: the status of the API server, or that there was none.
fn reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        _ => "no connection".to_owned(),
    }
}

/// The claims that are looked at before the API server is asked.
#[derive(Deserialize)]
struct Claims {
    exp: i64,
    #[serde(default)]
    aud: Audiences,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Many(Vec<String>),
}

impl Default for Audiences {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Claims {
    fn read(token: &str) -> Result<Self, TokenError> {
        let mut parts = token.split('.');
        let (Some(_), Some(claims), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed);
        };
        let claims = URL_SAFE_NO_PAD
            .decode(claims)
            .map_err(|_| TokenError::Malformed)?;
        serde_json::from_slice(&claims).map_err(|error| TokenError::Claims(error.to_string()))
    }

    fn check(&self, now: OffsetDateTime) -> Result<(), TokenError> {
        if self.exp <= now.unix_timestamp() {
            return Err(TokenError::Expired);
        }
        let is_ours = match &self.aud {
            Audiences::One(audience) => audience == AUDIENCE,
            Audiences::Many(audiences) => audiences.iter().any(|audience| audience == AUDIENCE),
        };
        if is_ours {
            return Ok(());
        }
        Err(TokenError::Audience(AUDIENCE.to_owned()))
    }
}

#[cfg(test)]
mod tests;
