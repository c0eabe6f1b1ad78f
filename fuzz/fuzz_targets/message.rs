//! Any bytes as a SIP message: nothing panics, what is read is written unchanged, what a proxy does
//! changes nothing else. The properties are those of the crate's own tests.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../widget/sip/tests/support/invariants.rs"]
mod invariants;

fuzz_target!(|input: &[u8]| invariants::check_invariants(input));
