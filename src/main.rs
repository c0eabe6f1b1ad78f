//! The `bitcall` binary.

mod api;
mod edge;
mod store;
mod tenancy;

fn main() {}
