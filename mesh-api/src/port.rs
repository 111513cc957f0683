//! Ports and the protocols spoken on them.

use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;

/// A port number that can be connected to.
pub type Port = NonZeroU16;

/// What is spoken on a port, as far as the mesh cares (Istio `protocol.Instance`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 without TLS.
    Http2,
    /// gRPC.
    Grpc,
    /// gRPC-Web.
    GrpcWeb,
    /// HTTP inside the application's own TLS.
    Https,
    /// TLS, told apart by SNI.
    Tls,
    /// Bytes.
    Tcp,
    /// MongoDB; proxied as TCP.
    Mongo,
    /// Redis; proxied as TCP.
    Redis,
    /// MySQL; proxied as TCP.
    Mysql,
    /// Not proxied.
    Udp,
    /// Not stated: HTTP or TCP by the first bytes.
    Auto,
}

impl Protocol {
    /// The protocol of a Service port: `appProtocol`, else the prefix of the port's name, else by number.
    ///
    /// Source: Istio `kube.ConvertProtocol`. Names are compared without case; a name is `proto` or
    /// `proto-suffix`.
    pub fn of_service_port(port: u16, name: &str, app_protocol: Option<&str>, udp: bool) -> Self {
        if udp {
            return Self::Udp;
        }
        if let Some(protocol) = app_protocol.and_then(Self::from_app_protocol) {
            return protocol;
        }
        if let Some(protocol) = Self::from_name(name) {
            return protocol;
        }
        match port {
            25 | 53 | 3306 | 27017 => Self::Tcp,
            _ => Self::Auto,
        }
    }

    fn from_app_protocol(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "kubernetes.io/h2c" => Some(Self::Http2),
            "kubernetes.io/ws" => Some(Self::Http),
            "kubernetes.io/wss" => Some(Self::Https),
            other => Self::from_text(other),
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        if name == "grpc-web" || name.starts_with("grpc-web-") {
            return Some(Self::GrpcWeb);
        }
        Self::from_text(name.split('-').next().unwrap_or_default())
    }

    /// A protocol by its name in a Gateway, ServiceEntry, Sidecar or port name; case does not matter.
    pub fn from_text(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "http" => Self::Http,
            "http2" => Self::Http2,
            "grpc" => Self::Grpc,
            "grpc-web" => Self::GrpcWeb,
            "https" => Self::Https,
            "tls" => Self::Tls,
            "tcp" => Self::Tcp,
            "mongo" => Self::Mongo,
            "redis" => Self::Redis,
            "mysql" => Self::Mysql,
            "udp" => Self::Udp,
            _ => return None,
        })
    }

    /// HTTP that the proxy can read.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    /// HTTP/2 towards the application.
    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc)
    }

    /// TLS of the application, routed by SNI.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }

    /// Bytes to the proxy.
    pub fn is_tcp(self) -> bool {
        matches!(
            self,
            Self::Tcp | Self::Mongo | Self::Redis | Self::Mysql | Self::Https | Self::Tls
        )
    }

    /// Told by the first bytes.
    pub fn is_auto(self) -> bool {
        self == Self::Auto
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP",
            Self::Http2 => "HTTP2",
            Self::Grpc => "GRPC",
            Self::GrpcWeb => "GRPC-Web",
            Self::Https => "HTTPS",
            Self::Tls => "TLS",
            Self::Tcp => "TCP",
            Self::Mongo => "Mongo",
            Self::Redis => "Redis",
            Self::Mysql => "MySQL",
            Self::Udp => "UDP",
            Self::Auto => "UnsupportedProtocol",
        })
    }
}

/// Where a Service port leads on the pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TargetPort {
    /// A number.
    Number(Port),
    /// The name of a container port.
    Name(Arc<str>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(9080, "http", None, Protocol::Http)]
    #[case(9080, "http-main", None, Protocol::Http)]
    #[case(9080, "httpfoo", None, Protocol::Auto)]
    #[case(9080, "grpc-web-x", None, Protocol::GrpcWeb)]
    #[case(9080, "grpc-x", None, Protocol::Grpc)]
    #[case(9080, "tcp", Some("http2"), Protocol::Http2)]
    #[case(9080, "tcp", Some("kubernetes.io/h2c"), Protocol::Http2)]
    #[case(9080, "tcp", Some("example.com/own"), Protocol::Tcp)]
    #[case(3306, "", None, Protocol::Tcp)]
    #[case(8080, "", None, Protocol::Auto)]
    fn selection(
        #[case] port: u16,
        #[case] name: &str,
        #[case] app: Option<&str>,
        #[case] expected: Protocol,
    ) {
        assert_eq!(Protocol::of_service_port(port, name, app, false), expected);
    }
}
