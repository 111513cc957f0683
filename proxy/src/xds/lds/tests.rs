//! Listeners from JSON, as a bootstrap has them.
