//! Access logs: one line per request or connection, in Istio's default formats unless the mesh
//! configures its own.

use xds::envoy::{access_logger, accesslog, core};
use xds::structs;

use crate::wire;

/// Istio's default line.
pub(crate) const DEFAULT_TEXT: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" ",
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% ",
    "\"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% ",
    "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" ",
    "\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% ",
    "%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% ",
    "%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n",
);

/// Istio's default fields.
const DEFAULT_JSON: [(&str, &str); 24] = [
    ("start_time", "%START_TIME%"),
    ("route_name", "%ROUTE_NAME%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    (
        "connection_termination_details",
        "%CONNECTION_TERMINATION_DETAILS%",
    ),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration", "%DURATION%"),
    (
        "upstream_service_time",
        "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    ),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    (
        "upstream_transport_failure_reason",
        "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    ),
];

/// How a line looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A line of text; the default one if empty.
    Text(String),
    /// A JSON object with these fields; the default ones if empty.
    Json(Vec<(String, String)>),
}

/// Where lines go and how they look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccessLog {
    /// The file.
    pub(crate) path: String,
    /// The format.
    pub(crate) format: Format,
}

impl AccessLog {
    /// The log of a filter: every request, every connection.
    pub(crate) fn of_filter(&self) -> accesslog::AccessLog {
        self.with_filter(None)
    }

    /// The log of a listener: only connections for which no filter chain was found, since those
    /// never reach a filter with a log.
    pub(crate) fn of_listener(&self) -> accesslog::AccessLog {
        use accesslog::access_log_filter::FilterSpecifier;
        let no_route = accesslog::ResponseFlagFilter {
            flags: vec!["NR".to_owned()],
        };
        self.with_filter(Some(accesslog::AccessLogFilter {
            filter_specifier: Some(FilterSpecifier::ResponseFlagFilter(no_route)),
        }))
    }

    fn with_filter(&self, filter: Option<accesslog::AccessLogFilter>) -> accesslog::AccessLog {
        use access_logger::file::{FileAccessLog, file_access_log::AccessLogFormat};
        let log = FileAccessLog {
            path: self.path.clone(),
            access_log_format: Some(AccessLogFormat::LogFormat(self.format.substitution())),
        };
        wire::access_logger("envoy.access_loggers.file", &log, filter)
    }
}

impl Format {
    fn substitution(&self) -> core::SubstitutionFormatString {
        use core::substitution_format_string::Format as Wire;
        let format = match self {
            Self::Text(text) => {
                let text = if text.is_empty() { DEFAULT_TEXT } else { text };
                Wire::TextFormatSource(core::DataSource {
                    specifier: Some(core::data_source::Specifier::InlineString(text.to_owned())),
                    ..Default::default()
                })
            }
            Self::Json(fields) if fields.is_empty() => Wire::JsonFormat(structs::object(
                DEFAULT_JSON.map(|(name, operator)| (name, structs::string(operator))),
            )),
            Self::Json(fields) => Wire::JsonFormat(structs::object(
                fields
                    .iter()
                    .map(|(name, operator)| (name.as_str(), structs::string(operator))),
            )),
        };
        core::SubstitutionFormatString {
            format: Some(format),
            ..Default::default()
        }
    }
}
