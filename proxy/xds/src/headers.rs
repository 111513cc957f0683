//! Header operations of one level (`request_headers_to_add` and its siblings).

use http::HeaderName;
use http::header::{HOST, HeaderValue};
use xds::envoy::core::HeaderValueOption;
use xds::envoy::core::header_value_option::HeaderAppendAction;

use crate::config::error::{ConfigError, Within};
use crate::config::format::Format;
use crate::config::route::headers::{
    AddValue, AppendAction, HeaderAdd, HeaderEdits, HeaderOps, HeaderTarget,
};

/// The four lists of one level.
pub fn ops(
    request_add: &[HeaderValueOption],
    request_remove: &[String],
    response_add: &[HeaderValueOption],
    response_remove: &[String],
) -> Result<HeaderOps, ConfigError> {
    Ok(HeaderOps {
        request: HeaderEdits {
            remove: names(request_remove).within("request_headers_to_remove")?,
            ..adds(request_add).within("request_headers_to_add")?
        },
        response: HeaderEdits {
            remove: names(response_remove).within("response_headers_to_remove")?,
            ..adds(response_add).within("response_headers_to_add")?
        },
    })
}

/// Header names in a list.
pub fn names(protos: &[String]) -> Result<Vec<HeaderName>, ConfigError> {
    let names = protos.iter().enumerate();
    names
        .map(|(n, proto)| name(proto).within(format_args!("[{n}]")))
        .collect()
}

/// A header's name; pseudo headers are not among them.
pub fn name(proto: &str) -> Result<HeaderName, ConfigError> {
    let lower = proto.to_ascii_lowercase();
    HeaderName::from_bytes(lower.as_bytes())
        .map_err(|_| ConfigError::new("", format!("not a header name: \"{proto}\"")))
}

/// A header's value.
pub fn value(proto: &str) -> Result<HeaderValue, ConfigError> {
    HeaderValue::from_str(proto)
        .map_err(|_| ConfigError::new("", format!("not a header value: \"{proto}\"")))
}

fn adds(protos: &[HeaderValueOption]) -> Result<HeaderEdits, ConfigError> {
    let mut edits = HeaderEdits::default();
    for (n, proto) in protos.iter().enumerate() {
        let (add, reads_request) = add(proto).within(format_args!("[{n}]"))?;
        edits.add.push(add);
        edits.reads_request |= reads_request;
    }
    Ok(edits)
}

#[allow(deprecated, reason = "control planes still send `append`")]
fn add(proto: &HeaderValueOption) -> Result<(HeaderAdd, bool), ConfigError> {
    let header = proto.header.as_ref();
    let header = header.ok_or_else(|| ConfigError::new("header", "missing"))?;
    let name = target(&header.key).within("header.key")?;
    let format = Format::parse(&header.value)
        .map_err(|error| ConfigError::new("header.value", error.to_string()))?;
    let reads_request = format.reads_request();
    let value = match format.as_literal() {
        Some(literal) => AddValue::Fixed(HeaderValue::from_bytes(literal).map_err(|_| {
            ConfigError::new(
                "header.value",
                format!("not a header value: \"{}\"", header.value),
            )
        })?),
        None => AddValue::Format(format),
    };
    let action = match (&proto.append, proto.append_action()) {
        (Some(append), _) if append.value => AppendAction::AppendIfExistsOrAdd,
        (Some(_), _) => AppendAction::OverwriteIfExistsOrAdd,
        (None, HeaderAppendAction::AppendIfExistsOrAdd) => AppendAction::AppendIfExistsOrAdd,
        (None, HeaderAppendAction::AddIfAbsent) => AppendAction::AddIfAbsent,
        (None, HeaderAppendAction::OverwriteIfExistsOrAdd) => AppendAction::OverwriteIfExistsOrAdd,
        (None, HeaderAppendAction::OverwriteIfExists) => AppendAction::OverwriteIfExists,
    };
    let add = HeaderAdd {
        name,
        value,
        action,
        keep_empty: proto.keep_empty_value,
    };
    Ok((add, reads_request))
}

fn target(key: &str) -> Result<HeaderTarget, ConfigError> {
    Ok(match key.to_ascii_lowercase().as_str() {
        ":authority" | "host" => HeaderTarget::Name(HOST),
        ":path" => HeaderTarget::Path,
        ":method" => HeaderTarget::Method,
        key if key.starts_with(':') => {
            return Err(ConfigError::unsupported(
                "",
                format_args!("writing \"{key}\""),
            ));
        }
        key => HeaderTarget::Name(name(key)?),
    })
}

#[cfg(test)]
mod tests {
    use xds::envoy::core::HeaderValue as WireValue;

    use super::*;

    fn option(key: &str, value: &str) -> HeaderValueOption {
        HeaderValueOption {
            header: Some(WireValue {
                key: key.into(),
                value: value.into(),
                ..WireValue::default()
            }),
            ..HeaderValueOption::default()
        }
    }

    #[test]
    fn values_without_operators_are_fixed() {
        let edits = adds(&[option("X-A", "100%%"), option("x-b", "%PROTOCOL%")]).unwrap();
        assert!(matches!(&edits.add[0].value, AddValue::Fixed(value) if value == "100%"));
        assert!(matches!(&edits.add[1].value, AddValue::Format(_)));
        assert_eq!(
            edits.add[0].name,
            HeaderTarget::Name("x-a".parse().unwrap())
        );
        assert!(!edits.reads_request);
        assert!(adds(&[option("x", "%REQ(:path)%")]).unwrap().reads_request);
    }

    #[test]
    fn errors_name_the_field() {
        let error = |key, value| adds(&[option(key, value)]).unwrap_err().to_string();
        assert_eq!(
            error("a b", "x"),
            "[0].header.key: not a header name: \"a b\""
        );
        assert_eq!(
            error("a", "%NOPE%"),
            "[0].header.value: operator \"%NOPE%\" is not supported"
        );
        assert_eq!(
            error(":status", "x"),
            "[0].header.key: writing \":status\" is not supported"
        );
    }
}
