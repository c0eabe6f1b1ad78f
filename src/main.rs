//! The `bitcall` binary.

fn main() {}
