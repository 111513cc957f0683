//! Host names of services and rules, wildcards included, and which of several names fits best.

mod set;

pub use self::set::HostnameSet;

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A lower-case DNS name, `*.suffix`, or `*`. Compared without case, printed in lower case.
///
/// Source: Istio `host.Name`. Only the leftmost label may be a wildcard.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Hostname(Arc<str>);

/// Why a text is not a host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostnameError {
    /// Nothing there.
    #[error("host name is empty")]
    Empty,
    /// RFC 1035 allows 253 characters in text form.
    #[error("host name \"{0}\" is longer than 253 characters")]
    TooLong(String),
    /// A label breaks RFC 1123.
    #[error(
        "label \"{label}\" of host name \"{name}\" must be 1 to 63 letters, digits or '-', and neither begin nor end with '-'"
    )]
    BadLabel {
        /// The whole name.
        name: String,
        /// The label at fault.
        label: String,
    },
    /// `a.*.b`, `f*.b`, `**`.
    #[error("host name \"{0}\": only the whole leftmost label may be the wildcard '*'")]
    Wildcard(String),
}

impl Hostname {
    /// The name that fits everything.
    pub fn any() -> Self {
        Self("*".into())
    }

    /// The text, lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for `*` and `*.suffix`.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with('*')
    }

    /// True for `*`.
    pub fn is_any(&self) -> bool {
        &*self.0 == "*"
    }

    /// True if every name that `other` stands for is also one of ours.
    pub fn covers(&self, other: &Self) -> bool {
        match self.0.strip_prefix('*') {
            None => self == other,
            Some("") => true,
            Some(suffix) => {
                let other = other.0.strip_prefix('*').unwrap_or(&other.0);
                other.ends_with(suffix) && (other.len() > suffix.len() || other.starts_with('.'))
            }
        }
    }

    /// True if some name is one of both (`host.Name.Matches`).
    pub fn overlaps(&self, other: &Self) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// The narrower of two overlapping names, `None` if they have nothing in common.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        if self.covers(other) {
            Some(other.clone())
        } else if other.covers(self) {
            Some(self.clone())
        } else {
            None
        }
    }

    /// How narrow the name is: exact names before wildcards, longer wildcards before shorter ones.
    /// The best of several fitting names is their maximum.
    pub fn specificity(&self) -> Specificity {
        Specificity {
            exact: !self.is_wildcard(),
            length: self.0.len(),
        }
    }

    /// The best fitting name of several for a name, if any fits.
    pub fn best_match<'a>(
        &self,
        candidates: impl IntoIterator<Item = &'a Hostname>,
    ) -> Option<&'a Hostname> {
        candidates
            .into_iter()
            .filter(|c| c.covers(self))
            .max_by_key(|c| c.specificity())
    }
}

/// How narrow a name is; greater is narrower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Specificity {
    exact: bool,
    length: usize,
}

impl FromStr for Hostname {
    type Err = HostnameError;

    /// A trailing dot is accepted and dropped. Underscores are accepted as Kubernetes and Istio do.
    fn from_str(text: &str) -> Result<Self, HostnameError> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if name.is_empty() {
            return Err(HostnameError::Empty);
        }
        if name.len() > 253 {
            return Err(HostnameError::TooLong(name));
        }
        for (position, label) in name.split('.').enumerate() {
            if label.contains('*') {
                if position > 0 || label != "*" {
                    return Err(HostnameError::Wildcard(name));
                }
            } else if !is_label(label) {
                return Err(HostnameError::BadLabel {
                    label: label.to_owned(),
                    name: name.clone(),
                });
            }
        }
        Ok(Self(name.into()))
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

impl Ord for Hostname {
    /// Alphabetical; see [`Hostname::specificity`] for the order of matching.
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Hostname {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn host(text: &str) -> Hostname {
        text.parse().expect(text)
    }

    #[rstest]
    #[case("*", "a.b", true)]
    #[case("*.b", "a.b", true)]
    #[case("*.b", "x.a.b", true)]
    #[case("*.b", "*.a.b", true)]
    #[case("*.a.b", "*.b", false)]
    #[case("*.b", "b", false)]
    #[case("*.b", "ab", false)]
    #[case("a.b", "a.b", true)]
    #[case("a.b", "*.b", false)]
    #[case("*.b", "*.b", true)]
    fn covers(#[case] wide: &str, #[case] narrow: &str, #[case] expected: bool) {
        assert_eq!(host(wide).covers(&host(narrow)), expected);
    }

    #[rstest]
    #[case("a.x.com", &["*", "*.com", "*.x.com", "a.x.com"], Some("a.x.com"))]
    #[case("b.x.com", &["*", "*.com", "*.x.com", "a.x.com"], Some("*.x.com"))]
    #[case("b.org", &["*.com", "a.x.com"], None)]
    fn best_match(#[case] name: &str, #[case] candidates: &[&str], #[case] expected: Option<&str>) {
        let candidates: Vec<_> = candidates.iter().map(|c| host(c)).collect();
        assert_eq!(
            host(name).best_match(&candidates).map(Hostname::as_str),
            expected
        );
    }

    #[rstest]
    #[case("")]
    #[case("f*.com")]
    #[case("a.*.com")]
    #[case("-a.com")]
    #[case("a..com")]
    #[case("a b")]
    fn refuses(#[case] text: &str) {
        assert!(text.parse::<Hostname>().is_err());
    }

    #[test]
    fn case_and_trailing_dot_do_not_matter() {
        assert_eq!(host("Reviews.Default.svc."), host("reviews.default.svc"));
    }

    proptest::proptest! {
        #[test]
        fn overlap_is_symmetric_and_intersection_is_covered(a in "(\\*|[ab]{1,2})(\\.[ab]){0,3}", b in "(\\*|[ab]{1,2})(\\.[ab]){0,3}") {
            let (a, b) = (host(&a), host(&b));
            assert_eq!(a.overlaps(&b), b.overlaps(&a));
            assert_eq!(a.intersection(&b).is_some(), a.overlaps(&b));
            if let Some(both) = a.intersection(&b) {
                assert!(a.covers(&both) && b.covers(&both));
            }
        }

        #[test]
        fn parsing_never_panics(text in ".{0,80}") {
            let _ = text.parse::<Hostname>();
        }
    }
}
