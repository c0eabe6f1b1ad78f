//! Certificates: obtained from authorities that speak ACME ([`Certs`]), kept in the store with their keys
//! sealed ([`CertificateStore`]), served from memory ([`CertResolver`]), and checked after every change as a
//! client gets them ([`watch`]).
//!
//! The pure core is [`order`]; `driver` does its input and output.

mod account;
mod acme_error;
mod cert_resolver;
mod certificate_store;
mod challenges;
mod client;
mod dial;
mod driver;
mod http_client;
mod keys;
mod leaf;
mod leases;
mod mismatches;
mod order;
mod preflight;
mod progress;
mod quotas;
mod resealing;
mod schedule;
mod sealed;
mod settings;
mod watch;

pub use account::Limits;
pub use acme_error::{AcmeError, Kind};
pub use cert_resolver::{ACME_TLS, CertResolver};
pub use certificate_store::{CertificateError, CertificateOrigin, CertificateStore, OpenError, StoredCertificate};
pub use challenges::ChallengeStore;
pub use client::ExternalAccountBinding;
pub use driver::{Certs, StartError};
pub use http_client::AcmeHttpClient;
pub use order::{Method, Reachability, Rules};
pub use preflight::{Addresses, Preflight};
pub use progress::{Problem, ProblemKind, Progress, Stage, Wanted};
pub use sealed::Seal;
pub use settings::AcmeSettings;
pub use watch::watch;
