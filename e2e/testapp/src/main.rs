//! e2e/testapp
fn main() {}
