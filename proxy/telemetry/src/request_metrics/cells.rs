//! Cells of one label set of Istio's metrics.

use crate::stats::{Cell, Cells, Kind};

/// Upper bounds of Istio's histogram buckets. The first one, half a unit, takes the zeros.
pub const BUCKETS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1_000.0,
    2_500.0,
    5_000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// A histogram of whole numbers with [`BUCKETS`].
#[derive(Debug, Default)]
pub struct Histogram {
    /// Not cumulative; the last one has no bound.
    buckets: [Cell; BUCKETS.len() + 1],
    sum: Cell,
}

impl Histogram {
    /// Counts a value.
    #[inline]
    pub fn observe(&self, value: u64) {
        let bucket = BUCKETS.partition_point(|bound| *bound < value as f64);
        self.buckets[bucket].inc();
        self.sum.add(value);
    }

    fn values(&self, out: &mut Vec<u64>) {
        out.extend(self.buckets.iter().map(Cell::get));
        out.push(self.sum.get());
    }
}

/// Numbers of a histogram in [`Cells::values`]: its buckets and the sum.
pub const HISTOGRAM_VALUES: usize = BUCKETS.len() + 2;

/// A label set of the HTTP metrics.
#[derive(Debug, Default)]
pub struct RequestCells {
    /// `istio_requests_total`.
    pub requests: Cell,
    /// `istio_request_messages_total`.
    pub request_messages: Cell,
    /// `istio_response_messages_total`.
    pub response_messages: Cell,
    /// `istio_request_duration_milliseconds`.
    pub duration_ms: Histogram,
    /// `istio_request_bytes`.
    pub request_bytes: Histogram,
    /// `istio_response_bytes`.
    pub response_bytes: Histogram,
}

impl Cells for RequestCells {
    fn fields() -> &'static [(&'static str, Kind)] {
        /// Only their number matters: histograms are written by position.
        const FIELDS: [(&str, Kind); 3 + 3 * HISTOGRAM_VALUES] =
            [("", Kind::Counter); 3 + 3 * HISTOGRAM_VALUES];
        &FIELDS
    }

    fn descriptions() -> &'static [&'static str] {
        &[]
    }

    fn values(&self) -> Vec<u64> {
        let mut values = vec![
            self.requests.get(),
            self.request_messages.get(),
            self.response_messages.get(),
        ];
        for histogram in [&self.duration_ms, &self.request_bytes, &self.response_bytes] {
            histogram.values(&mut values);
        }
        values
    }
}

/// A label set of the TCP metrics.
#[derive(Debug, Default)]
pub struct TcpCells {
    /// `istio_tcp_connections_opened_total`.
    pub opened: Cell,
    /// `istio_tcp_connections_closed_total`.
    pub closed: Cell,
    /// `istio_tcp_sent_bytes_total`: to the client.
    pub sent_bytes: Cell,
    /// `istio_tcp_received_bytes_total`: from the client.
    pub received_bytes: Cell,
}

impl Cells for TcpCells {
    fn fields() -> &'static [(&'static str, Kind)] {
        &[
            ("istio_tcp_connections_opened_total", Kind::Counter),
            ("istio_tcp_connections_closed_total", Kind::Counter),
            ("istio_tcp_sent_bytes_total", Kind::Counter),
            ("istio_tcp_received_bytes_total", Kind::Counter),
        ]
    }

    fn descriptions() -> &'static [&'static str] {
        &[
            "TCP connections opened.",
            "TCP connections closed.",
            "Bytes to the client.",
            "Bytes from the client.",
        ]
    }

    fn values(&self) -> Vec<u64> {
        vec![
            self.opened.get(),
            self.closed.get(),
            self.sent_bytes.get(),
            self.received_bytes.get(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_falls_into_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for value in [0, 1, 2, 5, 6, 3_600_000, 3_600_001] {
            histogram.observe(value);
        }
        let mut values = Vec::new();
        histogram.values(&mut values);
        assert_eq!(values.len(), HISTOGRAM_VALUES);
        assert_eq!(values[..4], [1, 1, 2, 1]);
        assert_eq!(values[18..20], [1, 1]);
        assert_eq!(values[20], 7_200_015);
    }
}
