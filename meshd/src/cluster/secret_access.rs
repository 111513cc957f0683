//! Asks the API server who may read Secrets (SubjectAccessReview).

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use mesh_api::identity::SpiffeId;
use mesh_api::secret_readers::{groups_of, user_of};
use pilot::access::{ReviewError, Reviewer};
use tonic::async_trait;

/// The API server's authorizers, whichever they are.
#[derive(Debug)]
pub(crate) struct SubjectAccess {
    reviews: Api<SubjectAccessReview>,
}

impl SubjectAccess {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            reviews: Api::all(client),
        }
    }
}

#[async_trait]
impl Reviewer for SubjectAccess {
    async fn may_list_secrets(
        &self,
        account: &SpiffeId,
        namespace: &str,
    ) -> Result<bool, ReviewError> {
        let review = review(account, namespace);
        let answer = self.reviews.create(&PostParams::default(), &review).await;
        let status = match answer {
            Ok(review) => review.status.unwrap_or_default(),
            Err(kube::Error::Api(status)) => return Err(ReviewError(status.message.clone())),
            Err(error) => return Err(ReviewError(error.to_string())),
        };
        Ok(status.allowed && status.denied != Some(true))
    }
}

/// The question that Istio asks, with the groups that Kubernetes puts every service account in: a binding may be for
/// one of them.
fn review(account: &SpiffeId, namespace: &str) -> SubjectAccessReview {
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(user_of(account)),
            groups: Some(groups_of(account).to_vec()),
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(namespace.to_owned()),
                verb: Some("list".to_owned()),
                resource: Some("secrets".to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};
    use tower_test::mock;

    use super::*;
    use crate::cluster::test_api::{Answer, Seen, serve};

    fn answered(answer: impl Fn(&Seen) -> Answer + Send + 'static) -> SubjectAccess {
        let (service, handle) = mock::pair::<Request<Body>, Response<Body>>();
        let _writes = serve(handle, answer);
        SubjectAccess::new(Client::new(service, "default"))
    }

    async fn ask(access: &SubjectAccess) -> Result<bool, ReviewError> {
        let account = "spiffe://cluster.local/ns/istio-system/sa/gateway";
        let account = account.parse().unwrap();
        access.may_list_secrets(&account, "istio-system").await
    }

    fn status(status: &Value) -> Answer {
        Answer::Ok(json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {},
            "status": status,
        }))
    }

    #[tokio::test]
    async fn the_question_is_about_the_list_of_secrets_by_the_account_and_its_groups() {
        let access = answered(|request| {
            assert_eq!(request.method, http::Method::POST);
            assert_eq!(
                request.path,
                "/apis/authorization.k8s.io/v1/subjectaccessreviews"
            );
            assert_eq!(
                request.body["spec"],
                json!({
                    "user": "system:serviceaccount:istio-system:gateway",
                    "groups": [
                        "system:serviceaccounts",
                        "system:serviceaccounts:istio-system",
                        "system:authenticated",
                    ],
                    "resourceAttributes": {
                        "namespace": "istio-system",
                        "verb": "list",
                        "resource": "secrets",
                    },
                })
            );
            status(&json!({"allowed": true}))
        });
        assert_eq!(ask(&access).await, Ok(true));
    }

    #[tokio::test]
    async fn everything_but_a_clear_yes_is_a_no_or_an_error() {
        for no in [
            json!({"allowed": false}),
            json!({"allowed": true, "denied": true}),
            json!({"allowed": false, "evaluationError": "role \"gone\" not found"}),
        ] {
            let answer = no.clone();
            let access = answered(move |_| status(&answer));
            assert_eq!(ask(&access).await, Ok(false), "{no}");
        }
        let access = answered(|_| Answer::Status(403, "Forbidden", "reviews are not for you"));
        let error = ReviewError("reviews are not for you".to_owned());
        assert_eq!(ask(&access).await, Err(error));
    }
}
