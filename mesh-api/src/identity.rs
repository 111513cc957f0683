//! SPIFFE identities of workloads: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The authority part of a SPIFFE id (SPIFFE-ID §2.1): lower-case letters, digits, `.`, `-`, `_`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TrustDomain {
    /// Istio's default, `cluster.local`.
    fn default() -> Self {
        Self("cluster.local".into())
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not a trust domain.
    #[error("trust domain \"{0}\" must be 1 to 255 lower-case letters, digits, '.', '-' or '_'")]
    TrustDomain(String),
    /// Another scheme than `spiffe`.
    #[error("identity \"{0}\" does not begin with \"spiffe://\"")]
    Scheme(String),
    /// A path other than Istio's.
    #[error(
        "identity \"{0}\" is not of the form spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT"
    )]
    Path(String),
}

impl FromStr for TrustDomain {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let legal =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
        if (1..=255).contains(&text.len()) && text.bytes().all(legal) {
            Ok(Self(text.into()))
        } else {
            Err(IdentityError::TrustDomain(text.to_owned()))
        }
    }
}

/// The identity of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// The Kubernetes namespace.
    pub namespace: Arc<str>,
    /// The Kubernetes service account.
    pub service_account: Arc<str>,
}

impl SpiffeId {
    /// An identity from its parts, which must each be a non-empty path segment.
    ///
    /// # Errors
    /// [`IdentityError::Path`] if a part is empty or holds anything but letters, digits, `.`, `-`, `_`.
    pub fn new(
        trust_domain: TrustDomain,
        namespace: &str,
        service_account: &str,
    ) -> Result<Self, IdentityError> {
        if is_segment(namespace) && is_segment(service_account) {
            Ok(Self {
                trust_domain,
                namespace: namespace.into(),
                service_account: service_account.into(),
            })
        } else {
            Err(IdentityError::Path(format!(
                "spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}"
            )))
        }
    }

    /// Istio's principal: the identity without its scheme, as AuthorizationPolicy writes it.
    pub fn principal(&self) -> String {
        format!(
            "{}/ns/{}/sa/{}",
            self.trust_domain, self.namespace, self.service_account
        )
    }
}

impl FromStr for SpiffeId {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let rest = text
            .strip_prefix("spiffe://")
            .ok_or_else(|| IdentityError::Scheme(text.to_owned()))?;
        let mut parts = rest.split('/');
        let trust_domain = parts.next().unwrap_or_default().parse()?;
        let parts = [
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ];
        let [
            Some("ns"),
            Some(namespace),
            Some("sa"),
            Some(service_account),
            None,
        ] = parts
        else {
            return Err(IdentityError::Path(text.to_owned()));
        };
        Self::new(trust_domain, namespace, service_account)
            .map_err(|_| IdentityError::Path(text.to_owned()))
    }
}

fn is_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "spiffe://{}/ns/{}/sa/{}",
            self.trust_domain, self.namespace, self.service_account
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn round_trip() {
        let text = "spiffe://cluster.local/ns/default/sa/bookinfo-reviews";
        let id: SpiffeId = text.parse().expect("an identity");
        assert_eq!(id.to_string(), text);
        assert_eq!(
            id.principal(),
            "cluster.local/ns/default/sa/bookinfo-reviews"
        );
    }

    #[rstest]
    #[case("https://cluster.local/ns/a/sa/b")]
    #[case("spiffe:///ns/a/sa/b")]
    #[case("spiffe://UPPER/ns/a/sa/b")]
    #[case("spiffe://td/ns/a/sa/")]
    #[case("spiffe://td/ns//sa/b")]
    #[case("spiffe://td/ns/a/sa/b/c")]
    #[case("spiffe://td/ns/../sa/b")]
    #[case("spiffe://td/ns/a/sb/b")]
    #[case("spiffe://td/ns/a/sa/b?x=1")]
    fn refuses(#[case] text: &str) {
        assert!(text.parse::<SpiffeId>().is_err());
    }
}
