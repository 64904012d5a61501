//! The `dagbok` binary.
fn main() {}
