//! `accessLogFile`, `accessLogFormat` and `accessLogEncoding`.

use std::collections::BTreeMap;

use mesh_api::mesh_config::{AccessLogConfig, AccessLogEncoding};

use super::wire::{WireEncoding, WireMesh};
use crate::kinds::findings::Findings;
use crate::kinds::operators;
use crate::kinds::rules::some;
use crate::manifest::path::FieldPath;

pub(super) fn read(
    wire: &WireMesh,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> AccessLogConfig {
    let encoding = match wire.access_log_encoding {
        Some(WireEncoding::Json) => AccessLogEncoding::Json,
        _ => AccessLogEncoding::Text,
    };
    if let Some(text) = &wire.access_log_format {
        format(text, encoding, &path.field("accessLogFormat"), findings);
    }
    AccessLogConfig {
        file: wire.access_log_file.as_deref().and_then(some),
        format: wire.access_log_format.as_deref().and_then(some),
        encoding,
    }
}

/// In JSON, the values of the fields are formats.
fn format(
    text: &str,
    encoding: AccessLogEncoding,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    let formats = match encoding {
        AccessLogEncoding::Json if !text.is_empty() => {
            match serde_json::from_str::<BTreeMap<String, String>>(text) {
                Ok(fields) => fields.into_values().collect(),
                Err(_) => {
                    let message = "only a JSON object of strings is supported yet: the default \
                                   fields are written";
                    findings.without_effect(path, message);
                    return;
                }
            }
        }
        _ => vec![text.to_owned()],
    };
    for format in formats {
        if let Some(message) = operators::log_fault(&format) {
            findings.refuse_unsupported(path, &message);
        }
    }
}
