//! Certificates: kept in the store with their keys sealed ([`Cabinet`]), served from memory
//! ([`Shelf`]), and checked after every change by a look from outside ([`dial`]).

#![allow(dead_code, unused_imports)] // the room that orders certificates uses the rest

mod cabinet;
pub mod dial;
mod leaf;
mod sealed;
mod shelf;

pub use cabinet::{CERTIFICATES, Cabinet, Kept, OpenError, Origin, Prepared, Unfit, certificate_key};
pub use leaf::Leaf;
pub use sealed::{Seal, Sealed};
pub use shelf::{ACME_TLS, Key, Shelf, signing_key};
