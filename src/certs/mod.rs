//! Certificates: obtained from authorities that speak ACME ([`Certs`]), kept in the store with their keys
//! sealed ([`Cabinet`]), served from memory ([`Shelf`]), and checked after every change by a look from
//! outside ([`watch`]).
//!
//! How a name comes to its certificate is the pure function [`order::step`]; `driver` does what it says.

mod account;
mod budget;
mod cabinet;
mod challenges;
mod client;
mod dial;
mod driver;
mod exchange;
mod keys;
mod leaf;
mod leases;
mod mismatches;
mod order;
mod progress;
mod reach;
mod schedule;
mod sealed;
mod settings;
mod shelf;
mod trouble;
mod watch;

pub use account::Limits;
pub use cabinet::{Cabinet, Kept, OpenError, Origin, Unfit};
pub use challenges::Board;
pub use client::Binding;
pub use driver::{Certs, StartError};
pub use exchange::Exchange;
pub use order::{Method, Rules, Sight};
pub use progress::{Problem, ProblemKind, Progress, Stage, Wanted};
pub use reach::Scout;
pub use sealed::Seal;
pub use settings::Settings;
pub use shelf::{ACME_TLS, Shelf};
pub use trouble::{Kind, Trouble};
pub use watch::watch;
