//! e2e/bookinfo
fn main() {}
