//! Access logs: `envoy.config.accesslog.v3.AccessLog` to [`AccessLog`].

use xds::envoy::access_logger::file::FileAccessLog;
use xds::envoy::access_logger::file::file_access_log::AccessLogFormat as FileFormat;
use xds::envoy::access_logger::stream::stderr_access_log::AccessLogFormat as StderrFormat;
use xds::envoy::access_logger::stream::stdout_access_log::AccessLogFormat as StdoutFormat;
use xds::envoy::access_logger::stream::{StderrAccessLog, StdoutAccessLog};
use xds::envoy::accesslog as proto;
use xds::envoy::accesslog::access_log::ConfigType;
use xds::envoy::accesslog::access_log_filter::FilterSpecifier;
use xds::envoy::accesslog::comparison_filter::Op;
use xds::envoy::core::SubstitutionFormatString;
use xds::envoy::core::substitution_format_string::Format;

use super::any::unpack;
use crate::config::access_log::{
    AccessLog, Comparison, ComparisonOp, DEFAULT_FORMAT, LogFilter, LogFormat, SinkPath,
};
use crate::config::error::{ConfigError, Within};
use crate::config::metadata::Struct;
use crate::config::response_flags::ResponseFlags;
use crate::metadata::fields;

/// Translates the access logs of one place.
pub fn access_logs(protos: &[proto::AccessLog]) -> Result<Vec<AccessLog>, ConfigError> {
    let logs = protos.iter().enumerate();
    logs.map(|(n, proto)| access_log(proto).within(format_args!("access_log[{n}]")))
        .collect()
}

fn access_log(proto: &proto::AccessLog) -> Result<AccessLog, ConfigError> {
    let Some(ConfigType::TypedConfig(any)) = &proto.config_type else {
        return Err(ConfigError::new("typed_config", "missing"));
    };
    let kind = any.type_url.rsplit('.').next().unwrap_or_default();
    let (path, format) = match kind {
        "FileAccessLog" => file(&unpack(any).within("typed_config")?)?,
        "StdoutAccessLog" => {
            let stdout: StdoutAccessLog = unpack(any).within("typed_config")?;
            let format = stdout
                .access_log_format
                .map(|StdoutFormat::LogFormat(format)| format);
            (SinkPath::Stdout, substitution(format.as_ref())?)
        }
        "StderrAccessLog" => {
            let stderr: StderrAccessLog = unpack(any).within("typed_config")?;
            let format = stderr
                .access_log_format
                .map(|StderrFormat::LogFormat(format)| format);
            (SinkPath::Stderr, substitution(format.as_ref())?)
        }
        _ => {
            let what = format_args!("the access logger \"{}\"", any.type_url);
            return Err(ConfigError::unsupported("typed_config", what));
        }
    };
    let filter = match &proto.filter {
        Some(proto) => Some(filter(proto).within("filter")?),
        None => None,
    };
    Ok(AccessLog {
        filter,
        format,
        sink: path,
    })
}

#[allow(deprecated, reason = "control planes still send the older fields")]
fn file(proto: &FileAccessLog) -> Result<(SinkPath, LogFormat), ConfigError> {
    let path = match proto.path.as_str() {
        "" => return Err(ConfigError::new("typed_config.path", "missing")),
        "/dev/stdout" => SinkPath::Stdout,
        "/dev/stderr" => SinkPath::Stderr,
        path => SinkPath::File(path.into()),
    };
    let format = match &proto.access_log_format {
        None => text(DEFAULT_FORMAT, false),
        Some(FileFormat::Format(format)) if format.is_empty() => text(DEFAULT_FORMAT, false),
        Some(FileFormat::Format(format)) => text(format, false),
        Some(FileFormat::JsonFormat(format) | FileFormat::TypedJsonFormat(format)) => {
            json(fields(format), false)
        }
        Some(FileFormat::LogFormat(format)) => substitution(Some(format))?,
    };
    Ok((path, format))
}

#[allow(deprecated, reason = "control planes still send the older fields")]
fn substitution(proto: Option<&SubstitutionFormatString>) -> Result<LogFormat, ConfigError> {
    let Some(proto) = proto else {
        return Ok(text(DEFAULT_FORMAT, false));
    };
    let omit_empty = proto.omit_empty_values;
    match &proto.format {
        None => Ok(text(DEFAULT_FORMAT, omit_empty)),
        Some(Format::TextFormat(format)) => Ok(text(format, omit_empty)),
        Some(Format::JsonFormat(format)) => Ok(json(fields(format), omit_empty)),
        Some(Format::TextFormatSource(source)) => {
            use xds::envoy::core::data_source::Specifier;
            match &source.specifier {
                Some(Specifier::InlineString(format)) => Ok(text(format, omit_empty)),
                _ => Err(ConfigError::unsupported(
                    "log_format.text_format_source",
                    "a format that is not an inline string",
                )),
            }
        }
    }
}

fn text(format: &str, omit_empty: bool) -> LogFormat {
    LogFormat::Text {
        format: format.into(),
        omit_empty,
    }
}

fn json(template: Struct, omit_empty: bool) -> LogFormat {
    LogFormat::Json {
        template,
        omit_empty,
    }
}

fn filter(proto: &proto::AccessLogFilter) -> Result<LogFilter, ConfigError> {
    let unsupported = |what| Err(ConfigError::unsupported("", what));
    let all = |filters: &[proto::AccessLogFilter]| {
        let filters = filters.iter().map(filter);
        filters.collect::<Result<Vec<_>, _>>()
    };
    match &proto.filter_specifier {
        None => Err(ConfigError::new("", "empty filter")),
        Some(FilterSpecifier::StatusCodeFilter(filter)) => Ok(LogFilter::StatusCode(comparison(
            filter.comparison.as_ref(),
        )?)),
        Some(FilterSpecifier::DurationFilter(filter)) => {
            Ok(LogFilter::Duration(comparison(filter.comparison.as_ref())?))
        }
        Some(FilterSpecifier::NotHealthCheckFilter(_)) => Ok(LogFilter::Always),
        Some(FilterSpecifier::AndFilter(and)) => Ok(LogFilter::And(all(&and.filters)?)),
        Some(FilterSpecifier::OrFilter(or)) => Ok(LogFilter::Or(all(&or.filters)?)),
        Some(FilterSpecifier::ResponseFlagFilter(filter)) => response_flags(&filter.flags),
        Some(FilterSpecifier::GrpcStatusFilter(filter)) => Ok(LogFilter::GrpcStatus {
            statuses: filter
                .statuses
                .iter()
                .filter_map(|s| u16::try_from(*s).ok())
                .collect(),
            exclude: filter.exclude,
        }),
        Some(FilterSpecifier::RuntimeFilter(filter)) => {
            // There is no runtime: the default is what it is.
            let percent = filter.percent_sampled.as_ref();
            Ok(LogFilter::Sample(percent.map_or(1_000_000, millionths)))
        }
        Some(FilterSpecifier::HeaderFilter(_)) => unsupported("a header filter"),
        Some(FilterSpecifier::TraceableFilter(_)) => unsupported("a filter by trace decision"),
        Some(FilterSpecifier::MetadataFilter(_)) => unsupported("a filter by metadata"),
        Some(FilterSpecifier::LogTypeFilter(_)) => unsupported("a filter by log type"),
        Some(FilterSpecifier::ExtensionFilter(_)) => unsupported("a filter extension"),
    }
}

fn comparison(proto: Option<&proto::ComparisonFilter>) -> Result<Comparison, ConfigError> {
    let Some(proto) = proto else {
        return Err(ConfigError::new("comparison", "missing"));
    };
    let op = match proto.op() {
        Op::Eq => ComparisonOp::Equal,
        Op::Ge => ComparisonOp::GreaterOrEqual,
        Op::Le => ComparisonOp::LessOrEqual,
        Op::Ne => ComparisonOp::NotEqual,
    };
    let value = proto
        .value
        .as_ref()
        .map_or(0, |value| value.default_value.into());
    Ok(Comparison { op, value })
}

fn response_flags(names: &[String]) -> Result<LogFilter, ConfigError> {
    let mut flags = ResponseFlags::default();
    for name in names {
        let flag = ResponseFlags::from_short_name(name).ok_or_else(|| {
            ConfigError::new(
                "response_flag_filter.flags",
                format!("no such flag: \"{name}\""),
            )
        })?;
        flags.insert(flag);
    }
    Ok(LogFilter::ResponseFlags(flags))
}

fn millionths(percent: &xds::envoy::types::FractionalPercent) -> u32 {
    use xds::envoy::types::fractional_percent::DenominatorType;
    let factor = match percent.denominator() {
        DenominatorType::Hundred => 10_000,
        DenominatorType::TenThousand => 100,
        DenominatorType::Million => 1,
    };
    percent.numerator.saturating_mul(factor).min(1_000_000)
}
