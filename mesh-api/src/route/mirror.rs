//! Shadow traffic.

use super::Destination;

/// A shadow destination: its answers are dropped.
#[derive(Debug, Clone, PartialEq)]
pub struct Mirror {
    /// Where to.
    pub destination: Destination,
    /// Share of requests.
    pub percentage: Percent,
}

/// A share in millionths: 0 to 1,000,000 (Envoy's finest denominator).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Percent(u32);

impl Percent {
    /// All.
    pub const ALL: Self = Self(1_000_000);
    /// None.
    pub const NONE: Self = Self(0);

    /// From per cent; `None` outside of 0 to 100 or if it is not a number.
    pub fn from_percent(value: f64) -> Option<Self> {
        // In range, so the product fits.
        (0.0..=100.0)
            .contains(&value)
            .then(|| Self((value * 10_000.0).round() as u32))
    }

    /// Millionths.
    pub fn millionths(self) -> u32 {
        self.0
    }
}
