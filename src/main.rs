//! The `bitcall` binary: parse, run, map the result to an exit code.

// They panic when the reader of a pipe has ended or a disk is full: `cli::output` does not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod api;
mod app;
mod certs;
mod cli;
mod client;
mod config;
mod dial;
mod dns;
mod domains;
mod edge;
mod hostname;
mod rate_limiter;
mod seal;
mod server;
mod store;
mod supervision;
mod tenancy;
mod timestamp;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
