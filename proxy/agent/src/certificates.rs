//! The workload's certificate: fetched before anything is served, renewed at half of the time that was left when it came.
//!
//! A renewal that fails is tried again with backoff while the old certificate still serves; the roots come with
//! every answer and from the mounted file, whichever knows more, so that a root rotation overlaps.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::sync::watch;
use tonic::transport::{Endpoint, Uri};
use tonic::{Request, Status};
use xds::proto::istio_v1_auth::IstioCertificateRequest;
use xds::proto::istio_v1_auth::istio_certificate_service_client::IstioCertificateServiceClient;

use mesh_runtime::backoff::Backoff;

use super::control_plane::{ConnectError, ControlPlane};
use super::csr;
use super::settings::Settings;
use crate::config::error::ConfigError;
use crate::config::secret::SecretRef;
use crate::tls::secret::{CertificateDetails, Secret};
use crate::tls::secret_store::SecretStore;

/// One request to citadel, connection included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the mounted roots are looked at; a kubelet takes a minute to bring new ones.
const ROOTS_INTERVAL: Duration = Duration::from_secs(5);
const RETRY_BASE: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Renewal happens at half of the time that is left, give or take one per cent of it, so that a fleet does not come at
/// once. What was left when it came counts, not its whole life: it begins before it is issued, for clocks that differ.
const RENEW_AT: f64 = 0.5;
const RENEW_JITTER: f64 = 0.01;
/// No certificate is renewed sooner, whatever the clocks say.
const RENEW_MIN: Duration = Duration::from_secs(5);

/// A certificate as citadel gave it, with its key.
#[derive(Clone, PartialEq, Eq)]
pub struct WorkloadCertificate {
    /// Leaf and intermediates, PEM.
    pub chain: String,
    /// Roots, PEM.
    pub roots: String,
    /// The private key, PEM.
    pub key: String,
    /// Begin of validity.
    pub not_before: SystemTime,
    /// End of validity.
    pub not_after: SystemTime,
}

impl std::fmt::Debug for WorkloadCertificate {
    /// The key is not printed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkloadCertificate")
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The token cannot be read.
    #[error("cannot read the service-account token \"{path}\"")]
    Token {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No answer.
    #[error("the certificate authority does not answer")]
    Transport(#[from] tonic::transport::Error),
    /// Refused.
    #[error("the certificate authority refused: {} ({:?})", .0.message(), .0.code())]
    Refused(Box<Status>),
    /// Signed nothing usable.
    #[error("the certificate authority's answer is not usable: {0}")]
    Answer(String),
    /// No key.
    #[error("no signing request could be made")]
    Request(#[from] rcgen::Error),
}

impl From<ConfigError> for IssueError {
    fn from(error: ConfigError) -> Self {
        Self::Answer(error.to_string())
    }
}

/// Fetches and renews the certificate of one workload.
#[derive(Debug)]
pub struct Certificates {
    settings: Arc<Settings>,
    authority: ControlPlane,
    current: watch::Sender<Option<Arc<WorkloadCertificate>>>,
    secrets: SecretStore,
}

impl Certificates {
    /// Nothing is fetched before [`Self::run`].
    pub fn new(settings: Arc<Settings>, secrets: SecretStore) -> Self {
        let authority = ControlPlane {
            address: settings.ca_address.clone(),
            root_path: settings.root_path.clone(),
        };
        Self {
            settings,
            authority,
            current: watch::Sender::new(None),
            secrets,
        }
    }

    /// The certificate in force; `None` until the first was issued.
    pub fn watch(&self) -> watch::Receiver<Option<Arc<WorkloadCertificate>>> {
        self.current.subscribe()
    }

    /// Keeps the certificate fresh. Runs until dropped.
    pub async fn run(self) {
        let mut backoff = Backoff::new(RETRY_BASE, RETRY_MAX);
        loop {
            match tokio::time::timeout(REQUEST_TIMEOUT, self.issue()).await {
                Ok(Ok(certificate)) => {
                    backoff.reset();
                    let renewal = until_renewal(&certificate, SystemTime::now());
                    tracing::info!(
                        renewal_seconds = renewal.as_secs(),
                        "workload certificate issued"
                    );
                    self.publish(certificate.clone());
                    // Dropped at the renewal, between two looks at the file.
                    let _ = tokio::time::timeout(renewal, self.follow_roots(certificate)).await;
                    continue;
                }
                Ok(Err(error)) => tracing::warn!(error = %chain(&error), "no workload certificate"),
                Err(_) => {
                    tracing::warn!("no workload certificate: no answer within {REQUEST_TIMEOUT:?}")
                }
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    /// Publishes the certificate again with other roots, whenever the mounted file changes. Returns when none of them
    /// has signed it: the authority was replaced, and the control plane refuses the certificate.
    async fn follow_roots(&self, mut certificate: WorkloadCertificate) {
        let answered = certificate.roots.clone();
        loop {
            tokio::time::sleep(ROOTS_INTERVAL).await;
            // A file that is being replaced, or is not there now, says nothing about roots.
            let Ok(mounted) = self.authority.roots_pem() else {
                continue;
            };
            let roots = united_roots(&answered, &String::from_utf8_lossy(&mounted));
            if roots != certificate.roots {
                tracing::info!("the roots of the mesh have changed");
                certificate.roots = roots;
                self.publish(certificate.clone());
                if !is_signed_by(&certificate, &mounted) {
                    tracing::info!(
                        "no root has signed the workload certificate, asking for another"
                    );
                    return;
                }
            }
        }
    }

    async fn issue(&self) -> Result<WorkloadCertificate, IssueError> {
        let request = csr::request(&self.settings.spiffe_id())?;
        let mut call = Request::new(IstioCertificateRequest {
            csr: request.csr,
            validity_duration: i64::try_from(self.settings.certificate_ttl.as_secs())
                .unwrap_or(i64::MAX),
            metadata: None,
        });
        let bearer = format!("Bearer {}", self.token()?);
        let bearer = bearer
            .parse()
            .map_err(|_| IssueError::Answer("the token is not a header value".into()))?;
        call.metadata_mut().insert("authorization", bearer);
        let authority = self.authority.clone();
        let connect = tower_connector(move || {
            let authority = authority.clone();
            async move { authority.connect(None).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://citadel")
            .connect_with_connector(connect)
            .await?;
        let answer = IstioCertificateServiceClient::new(channel)
            .create_certificate(call)
            .await;
        let chain = answer
            .map_err(|status| IssueError::Refused(Box::new(status)))?
            .into_inner()
            .cert_chain;
        self.certificate(chain, request.key)
    }

    fn token(&self) -> Result<String, IssueError> {
        let path = &self.settings.token_path;
        let text = std::fs::read_to_string(path).map_err(|source| IssueError::Token {
            path: path.display().to_string(),
            source,
        })?;
        Ok(text.trim().to_owned())
    }

    /// Citadel answers with leaf, intermediates and root, in this order.
    fn certificate(
        &self,
        mut chain: Vec<String>,
        key: String,
    ) -> Result<WorkloadCertificate, IssueError> {
        if chain.len() < 2 {
            return Err(IssueError::Answer(format!(
                "{} certificates instead of leaf and root",
                chain.len()
            )));
        }
        let root = chain.pop().unwrap_or_default();
        let chain: String = chain
            .iter()
            .map(|pem| pem.trim().to_owned() + "\n")
            .collect();
        let mounted = String::from_utf8_lossy(&self.authority.roots_pem()?).into_owned();
        let roots = united_roots(&root, &mounted);
        let (not_before, not_after) = validity(&chain, &key)?;
        Ok(WorkloadCertificate {
            chain,
            roots,
            key,
            not_before,
            not_after,
        })
    }

    fn publish(&self, certificate: WorkloadCertificate) {
        let name = |name: &str| SecretRef {
            name: name.into(),
            from_agent: true,
        };
        let version: Arc<str> = certificate_version(&certificate).into();
        // Both were parsed before they got here.
        if let Ok(secret) = Secret::roots_from_pem(certificate.roots.as_bytes()) {
            self.secrets.set(name("ROOTCA"), secret, version.clone());
        }
        if let Ok(secret) =
            Secret::certificate_from_pem(certificate.chain.as_bytes(), certificate.key.as_bytes())
        {
            self.secrets.set(name("default"), secret, version);
        }
        self.current.send_replace(Some(Arc::new(certificate)));
    }
}

/// A tonic connector from an async function.
fn tower_connector<F, Fut, IO, E>(
    connect: F,
) -> impl tower::Service<Uri, Response = IO, Error = E, Future = Fut> + Clone
where
    F: Fn() -> Fut + Clone,
    Fut: std::future::Future<Output = Result<IO, E>>,
{
    tower::service_fn(move |_: Uri| connect())
}

/// The version under which a certificate's secrets are served: its expiry, and what else may differ.
pub fn certificate_version(certificate: &WorkloadCertificate) -> String {
    let since = certificate
        .not_after
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let mut roots = std::hash::DefaultHasher::new();
    certificate.roots.hash(&mut roots);
    let (chain, roots) = (certificate.chain.len(), roots.finish());
    format!("{}.{chain}.{roots:x}", since.as_secs())
}

fn validity(chain: &str, key: &str) -> Result<(SystemTime, SystemTime), IssueError> {
    match Secret::certificate_from_pem(chain.as_bytes(), key.as_bytes())? {
        Secret::Certificate(certificate) => {
            let CertificateDetails {
                not_before,
                not_after,
                ..
            } = certificate.leaf;
            Ok((not_before, not_after))
        }
        Secret::Validation(_) => Err(IssueError::Answer("no certificate".to_owned())),
    }
}

/// The certificates of both bundles, each once, in order.
fn united_roots(answered: &str, mounted: &str) -> String {
    const END: &str = "-----END CERTIFICATE-----";
    let mut seen: Vec<String> = Vec::new();
    for block in answered
        .split_inclusive(END)
        .chain(mounted.split_inclusive(END))
    {
        let block = block.trim();
        if block.ends_with(END) && !seen.iter().any(|known| known == block) {
            seen.push(block.to_owned());
        }
    }
    seen.join("\n") + "\n"
}

fn until_renewal(certificate: &WorkloadCertificate, now: SystemTime) -> Duration {
    let left = certificate.not_after.duration_since(now);
    let fraction = RENEW_AT + (fastrand::f64() * 2.0 - 1.0) * RENEW_JITTER;
    left.unwrap_or_default().mul_f64(fraction).max(RENEW_MIN)
}

/// Whether one of these roots (PEM) is at the end of the certificate's chain.
fn is_signed_by(certificate: &WorkloadCertificate, roots: &[u8]) -> bool {
    let roots: Vec<_> = CertificateDer::pem_slice_iter(roots).flatten().collect();
    let anchors: Vec<_> = roots
        .iter()
        .filter_map(|root| webpki::anchor_from_trusted_cert(root).ok())
        .collect();
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate.chain.as_bytes())
        .flatten()
        .collect();
    let Some((leaf, intermediates)) = chain.split_first() else {
        return false;
    };
    let Ok(leaf) = webpki::EndEntityCert::try_from(leaf) else {
        return false;
    };
    let usage = webpki::KeyUsage::client_auth();
    let algorithms = webpki::ALL_VERIFICATION_ALGS;
    // Whether it has expired is another question.
    let issued = certificate.not_before.duration_since(UNIX_EPOCH);
    let time = UnixTime::since_unix_epoch(issued.unwrap_or_default() + Duration::from_secs(1));
    leaf.verify_for_usage(algorithms, &anchors, intermediates, time, usage, None, None)
        .is_ok()
}

/// An error with its causes, as one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += ": ";
        text += &error.to_string();
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_united_without_doubles() {
        let pem = |body: &str| {
            format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
        };
        let (a, b) = (pem("a"), pem("b"));
        assert_eq!(
            united_roots(&a, &(a.clone() + &b)),
            format!("{}\n{}", a.trim(), b)
        );
    }

    const DAY: Duration = Duration::from_secs(86_400);

    fn certificate() -> WorkloadCertificate {
        let start = SystemTime::UNIX_EPOCH + DAY;
        WorkloadCertificate {
            chain: String::new(),
            roots: String::new(),
            key: String::new(),
            not_before: start,
            not_after: start + DAY,
        }
    }

    #[test]
    fn the_same_certificate_under_other_roots_is_another_version() {
        let first = certificate();
        let mut second = first.clone();
        assert_eq!(certificate_version(&first), certificate_version(&second));
        second.roots.push('a');
        assert_ne!(certificate_version(&first), certificate_version(&second));
    }

    #[test]
    fn renewal_is_at_half_of_what_is_left() {
        // Issued two minutes after it begins, as citadel does.
        let skew = Duration::from_secs(120);
        for life in [60, 180, 300, 86_400].map(Duration::from_secs) {
            let certificate = certificate();
            let certificate = WorkloadCertificate {
                not_after: certificate.not_before + skew + life,
                ..certificate
            };
            let received = certificate.not_before + skew;
            let wait = until_renewal(&certificate, received).as_secs_f64() / life.as_secs_f64();
            assert!((0.489..=0.511).contains(&wait), "{wait} of {life:?}");
        }
    }

    #[test]
    fn a_certificate_that_is_over_when_it_comes_is_not_renewed_without_pause() {
        let certificate = certificate();
        for late in [DAY, DAY + Duration::from_secs(1), 10 * DAY] {
            let now = certificate.not_before + late;
            assert_eq!(until_renewal(&certificate, now), RENEW_MIN);
        }
    }

    #[test]
    fn a_root_that_has_not_signed_is_told_from_one_that_has() {
        let issue = |name: &str| {
            let mut root = rcgen::CertificateParams::default();
            root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            // The new authority of a mesh has the old one's name.
            root.distinguished_name
                .push(rcgen::DnType::OrganizationName, "cluster.local");
            let root_key = rcgen::KeyPair::generate().unwrap();
            let root_pem = root.self_signed(&root_key).unwrap().pem();
            let issuer = rcgen::Issuer::from_params(&root, &root_key);
            let mut leaf = rcgen::CertificateParams::default();
            let uri = format!("spiffe://cluster.local/ns/default/sa/{name}");
            leaf.subject_alt_names = vec![rcgen::SanType::URI(uri.try_into().unwrap())];
            leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
            let key = rcgen::KeyPair::generate().unwrap();
            let chain = leaf.signed_by(&key, &issuer).unwrap().pem();
            let (not_before, not_after) = validity(&chain, &key.serialize_pem()).unwrap();
            let certificate = WorkloadCertificate {
                chain,
                roots: root_pem.clone(),
                key: key.serialize_pem(),
                not_before,
                not_after,
            };
            (certificate, root_pem)
        };
        let (old, old_root) = issue("old");
        let (_, new_root) = issue("new");
        let both = format!("{old_root}{new_root}");
        let verdicts = [&old_root, &both, &new_root, &String::new()]
            .map(|roots| is_signed_by(&old, roots.as_bytes()));
        assert_eq!(verdicts, [true, true, false, false]);
    }
}
