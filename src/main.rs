//! The `bitcall` binary.

mod edge;

fn main() {}
