//! Pod admission: every pod goes through the control plane's webhook, over HTTPS, as an
//! AdmissionReview, exactly as an API server would send it.

use std::{collections::BTreeMap, io, net::SocketAddr, path::Path, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use json_patch::Patch;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Name in the control plane's certificate.
const SERVER_NAME: &str = "istiod.istio-system.svc";

/// Path of the injection webhook.
const PATH: &str = "/inject";

/// Admission failed.
#[derive(Debug, thiserror::Error)]
pub enum InjectError {
    /// The root certificate is not published yet, or broken.
    #[error("no root certificate of the control plane yet")]
    Root(#[source] io::Error),
    /// The webhook cannot be reached.
    #[error("the injection webhook does not answer")]
    Connect(#[source] io::Error),
    /// The exchange broke off.
    #[error("the injection webhook broke off")]
    Exchange(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is not an admission review.
    #[error("the injection webhook answered {status}: {body}")]
    Answer {
        /// HTTP status.
        status: u16,
        /// Beginning of the body.
        body: String,
    },
    /// The pod was refused.
    #[error("the pod was refused: {0}")]
    Refused(String),
    /// The patch does not fit the pod.
    #[error("the injection patch does not apply")]
    Patch(#[from] json_patch::PatchError),
}

impl InjectError {
    /// Whether asking again can help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Root(_) | Self::Connect(_) | Self::Exchange(_))
    }
}

/// Whether the webhook's selectors match: Istio's rules for a namespace's and a pod's labels.
pub fn selected(
    namespace: Option<&BTreeMap<String, String>>,
    pod: Option<&BTreeMap<String, String>>,
) -> bool {
    let label = |labels: Option<&BTreeMap<String, String>>, key: &str| {
        labels.and_then(|labels| labels.get(key)).cloned()
    };
    let pod_choice = label(pod, "sidecar.istio.io/inject");
    if pod_choice.as_deref() == Some("false") {
        return false;
    }
    match label(namespace, "istio-injection").as_deref() {
        Some("enabled") => true,
        Some(_) => false,
        None => {
            let revision = label(namespace, "istio.io/rev").or_else(|| label(pod, "istio.io/rev"));
            match revision.as_deref() {
                Some("default") => true,
                Some(_) => false,
                None => pod_choice.as_deref() == Some("true"),
            }
        }
    }
}

/// Sends `pod` to the webhook at `address` and returns it as patched.
pub async fn inject(
    address: SocketAddr,
    root_cert: &Path,
    namespace: &str,
    pod: Value,
) -> Result<Value, InjectError> {
    let uid = format!("{:032x}", fastrand::u128(..));
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": uid,
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
            "requestResource": {"group": "", "version": "v1", "resource": "pods"},
            "name": "",
            "namespace": namespace,
            "operation": "CREATE",
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
            "object": pod,
            "oldObject": null,
            "dryRun": false,
            "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
        },
    });
    let answer = post(address, root_cert, review.to_string()).await?;
    patched(pod, &answer["response"])
}

/// Applies an admission response.
fn patched(mut pod: Value, response: &Value) -> Result<Value, InjectError> {
    if response["allowed"] != true {
        let reason = response["status"]["message"]
            .as_str()
            .unwrap_or("without a reason");
        return Err(InjectError::Refused(reason.to_owned()));
    }
    if let Some(encoded) = response["patch"].as_str() {
        let malformed =
            |error: Box<dyn std::error::Error + Send + Sync>| InjectError::Exchange(error);
        let bytes = STANDARD
            .decode(encoded)
            .map_err(|error| malformed(error.into()))?;
        let patch: Patch =
            serde_json::from_slice(&bytes).map_err(|error| malformed(error.into()))?;
        json_patch::patch(&mut pod, &patch)?;
    }
    Ok(pod)
}

async fn post(address: SocketAddr, root_cert: &Path, body: String) -> Result<Value, InjectError> {
    let connector = TlsConnector::from(Arc::new(client_config(root_cert)?));
    let stream = TcpStream::connect(address)
        .await
        .map_err(InjectError::Connect)?;
    let name = ServerName::try_from(SERVER_NAME).expect("a constant DNS name");
    let stream = connector
        .connect(name, stream)
        .await
        .map_err(InjectError::Connect)?;
    let exchange = |error: hyper::Error| InjectError::Exchange(error.into());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(exchange)?;
    let request = http::Request::post(PATH)
        .header("host", SERVER_NAME)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .expect("constant parts");
    let answer = async {
        let response = sender.send_request(request).await.map_err(exchange)?;
        let status = response.status().as_u16();
        let bytes = response
            .into_body()
            .collect()
            .await
            .map_err(exchange)?
            .to_bytes();
        serde_json::from_slice(&bytes)
            .ok()
            .filter(|_| status == 200)
            .ok_or_else(|| InjectError::Answer {
                status,
                body: String::from_utf8_lossy(&bytes).chars().take(200).collect(),
            })
    };
    tokio::pin!(answer, connection);
    // The connection must be driven while the answer is awaited; it may end first.
    let mut open = true;
    loop {
        tokio::select! {
            answer = &mut answer => return answer,
            _ = &mut connection, if open => open = false,
        }
    }
}

fn client_config(root_cert: &Path) -> Result<ClientConfig, InjectError> {
    let invalid =
        |error: String| InjectError::Root(io::Error::new(io::ErrorKind::InvalidData, error));
    let pem = std::fs::read(root_cert).map_err(InjectError::Root)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| invalid(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| invalid(error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| invalid(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&[("istio-injection", "enabled")], &[], true)]
    #[case(&[("istio-injection", "enabled")], &[("sidecar.istio.io/inject", "false")], false)]
    #[case(&[("istio-injection", "disabled")], &[("sidecar.istio.io/inject", "true")], false)]
    #[case(&[], &[("sidecar.istio.io/inject", "true")], true)]
    #[case(&[], &[], false)]
    #[case(&[("istio.io/rev", "default")], &[], true)]
    #[case(&[("istio.io/rev", "canary")], &[], false)]
    fn selectors(
        #[case] namespace: &[(&str, &str)],
        #[case] pod: &[(&str, &str)],
        #[case] expected: bool,
    ) {
        let labels = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        assert_eq!(
            selected(Some(&labels(namespace)), Some(&labels(pod))),
            expected
        );
    }

    #[test]
    fn an_admission_response_changes_or_refuses_the_pod() {
        let patch =
            STANDARD.encode(r#"[{"op":"add","path":"/metadata/labels","value":{"a":"b"}}]"#);
        let response = json!({"allowed": true, "patchType": "JSONPatch", "patch": patch});
        let found = patched(json!({"metadata": {}}), &response).unwrap();
        assert_eq!(found, json!({"metadata": {"labels": {"a": "b"}}}));
        assert_eq!(
            patched(json!({}), &json!({"allowed": true})).unwrap(),
            json!({})
        );
        let refused = patched(
            json!({}),
            &json!({"allowed": false, "status": {"message": "no"}}),
        )
        .unwrap_err();
        assert_eq!(refused.to_string(), "the pod was refused: no");
    }
}
