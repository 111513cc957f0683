//! `/certs`: what is in the secret store, keys excepted, in Envoy's form.

use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Admin;
use crate::tls::secret::{CertificateDetails, Secret};

pub(super) async fn certs(State(admin): State<Admin>) -> Json<Value> {
    let entries = admin.secrets.entries();
    let certificates: Vec<Value> = entries
        .iter()
        .map(|(name, entry)| {
            let (authorities, chain) = match &entry.secret {
                Secret::Certificate(certificate) => {
                    let own = std::iter::once(&certificate.leaf).chain(&certificate.issuers);
                    (Vec::new(), own.map(details).collect())
                }
                Secret::Validation(validation) => {
                    let roots = validation.roots.iter().flat_map(|roots| &roots.details);
                    (roots.map(details).collect(), Vec::new())
                }
            };
            json!({"name": &*name.name, "ca_cert": authorities, "cert_chain": chain})
        })
        .collect();
    Json(json!({ "certificates": certificates }))
}

fn details(certificate: &CertificateDetails) -> Value {
    let uris = certificate.uri_sans.iter().map(|uri| json!({ "uri": uri }));
    let dns = certificate.dns_sans.iter().map(|dns| json!({ "dns": dns }));
    let left = certificate.not_after.duration_since(SystemTime::now());
    json!({
        "serial_number": certificate.serial,
        "subject": certificate.subject,
        "subject_alt_names": uris.chain(dns).collect::<Vec<_>>(),
        "valid_from": rfc3339(certificate.not_before),
        "expiration_time": rfc3339(certificate.not_after),
        "days_until_expiration": (left.unwrap_or_default().as_secs() / 86400).to_string(),
    })
}

pub(super) fn rfc3339(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|_| String::new(), |time| time.to_string())
}
