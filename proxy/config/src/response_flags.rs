//! Envoy's response flags: why the proxy answered, delayed or ended a request by itself.

/// Envoy's response flags, one bit each; printed by their short names in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub struct ResponseFlags(pub u32);

macro_rules! response_flags {
    ($($(#[$doc:meta])* $name:ident = $short:literal, $bit:literal;)*) => {
        impl ResponseFlags {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)*
            const NAMES: &'static [(Self, &'static str)] = &[$((Self::$name, $short)),*];
        }
    };
}

response_flags! {
    /// Retries or connection attempts used up. Stands first: Envoy prints flags in the order in which they were
    /// set, and this one is set before the reason of the last try.
    UPSTREAM_RETRY_LIMIT_EXCEEDED = "URX", 15;
    /// Local health check failed.
    FAILED_LOCAL_HEALTH_CHECK = "LH", 0;
    /// No healthy upstream.
    NO_HEALTHY_UPSTREAM = "UH", 1;
    /// Upstream request timeout.
    UPSTREAM_REQUEST_TIMEOUT = "UT", 2;
    /// Local reset.
    LOCAL_RESET = "LR", 3;
    /// Upstream reset the stream.
    UPSTREAM_REMOTE_RESET = "UR", 4;
    /// Connecting to the upstream failed.
    UPSTREAM_CONNECTION_FAILURE = "UF", 5;
    /// The upstream closed the connection.
    UPSTREAM_CONNECTION_TERMINATION = "UC", 6;
    /// Circuit breaker.
    UPSTREAM_OVERFLOW = "UO", 7;
    /// No route.
    NO_ROUTE_FOUND = "NR", 8;
    /// Delay injected.
    DELAY_INJECTED = "DI", 9;
    /// Fault injected.
    FAULT_INJECTED = "FI", 10;
    /// Rate limited.
    RATE_LIMITED = "RL", 11;
    /// Denied by external authorization.
    UNAUTHORIZED_EXTERNAL_SERVICE = "UAEX", 12;
    /// Rate limit service error.
    RATELIMIT_SERVICE_ERROR = "RLSE", 13;
    /// The client closed.
    DOWNSTREAM_CONNECTION_TERMINATION = "DC", 14;
    /// Stream idle timeout.
    STREAM_IDLE_TIMEOUT = "SI", 16;
    /// Invalid Envoy request headers.
    INVALID_ENVOY_REQUEST_HEADERS = "IH", 17;
    /// Downstream protocol error.
    DOWNSTREAM_PROTOCOL_ERROR = "DPE", 18;
    /// Upstream reached its maximum stream duration.
    UPSTREAM_MAX_STREAM_DURATION = "UMSDR", 19;
    /// No cluster.
    NO_CLUSTER_FOUND = "NC", 20;
    /// Request or connection duration timeout.
    DURATION_TIMEOUT = "DT", 21;
    /// Upstream protocol error.
    UPSTREAM_PROTOCOL_ERROR = "UPE", 22;
    /// Overload manager.
    OVERLOAD_MANAGER = "OM", 23;
    /// DNS resolution failed.
    DNS_RESOLUTION_FAILED = "DF", 24;
    /// Downstream reset the stream.
    DOWNSTREAM_REMOTE_RESET = "DR", 25;
}

impl ResponseFlags {
    /// True if any flag of `other` is set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The flag with a short name (`UF`).
    pub fn from_short_name(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, short)| *short == name)
            .map(|(flag, _)| *flag)
    }

    /// Sets the flags of `other`.
    pub fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl std::fmt::Display for ResponseFlags {
    /// `-` when empty, else the short names joined by commas.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == 0 {
            return f.write_str("-");
        }
        let set = Self::NAMES.iter().filter(|(flag, _)| self.contains(*flag));
        for (n, (_, short)) in set.enumerate() {
            if n > 0 {
                f.write_str(",")?;
            }
            f.write_str(short)?;
        }
        Ok(())
    }
}
