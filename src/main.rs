//! The `bitcall` binary: parse, run, map the result to an exit code.

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
    match cli::run(cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
