//! Who this page is to the server, where the agent runs in the page itself.
//!
//! An instance id names one user agent (RFC 5626 §4.1), and a registrar gives
//! a newcomer with a known id the place of the former one. Two pages that
//! share no worker are two user agents: by the device's one id, each would
//! acquire the other's calls away. A `reg-id` of its own would not help: it tells
//! the flows of one user agent apart, and a proxy rings only one of those (§5.3).
//!
//! So the device has as many ids as it has such pages at a time, each guarded
//! by a Web WebLock. A page that is loaded again gets its old id back, so that
//! the server does not acquire it for yet another device.

use super::web_lock::{TryAcquire, WebLock};

/// More pages than anybody has; the rest share one id.
const MAX_INSTANCES: u64 = 32;

/// This page's place among those of the device. Free again when dropped.
pub struct InstanceNumber {
    number: u64,
    _lock: Option<WebLock>,
}

impl InstanceNumber {
    /// `agent` is the [`super::AgentAddress::name`] of the agent that this page has to itself.
    pub async fn acquire(agent: &str) -> InstanceNumber {
        for number in 1..=MAX_INSTANCES {
            match WebLock::try_acquire(&format!("bitcall-instance:{number}:{agent}")).await {
                TryAcquire::Acquired(lock) => return InstanceNumber { number, _lock: Some(lock) },
                TryAcquire::Unavailable => {}
                TryAcquire::Unsupported => break,
            }
        }
        InstanceNumber { number: 0, _lock: None }
    }

    /// The id to register by, made of the device's `urn:uuid:…`.
    pub fn id(&self, device: &str) -> String {
        with_number(device, self.number)
    }
}

/// The last field of a UUID is random in every version that devices have here:
/// counting on from it meets no other device's.
fn with_number(device: &str, number: u64) -> String {
    let counted = device.rsplit_once('-').and_then(|(rest, last)| {
        let last = u64::from_str_radix(last, 16).ok()?.wrapping_add(number) & 0xffff_ffff_ffff;
        Some(format!("{rest}-{last:012x}"))
    });
    counted.unwrap_or_else(|| device.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_its_own_id_and_it_is_a_uuid() {
        let device = "urn:uuid:2f1c9a34-7b0e-4d52-9f6a-ffffffffffff";
        assert_eq!(with_number(device, 0), device);
        assert_eq!(with_number(device, 1), "urn:uuid:2f1c9a34-7b0e-4d52-9f6a-000000000000");
        assert_eq!(with_number(device, 2), "urn:uuid:2f1c9a34-7b0e-4d52-9f6a-000000000001");
        assert_eq!(with_number("", 3), "");
    }
}
