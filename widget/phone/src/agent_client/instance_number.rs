//! The instance id of this page, where the agent runs in the page itself.
//!
//! An instance id names one user agent (RFC 5626 §4.1). A registrar replaces the binding of a user agent
//! when another registration arrives with the same id. Two pages that share no worker are two user agents:
//! with one id, each would take over the other's calls. A separate `reg-id` does not help: it distinguishes
//! the flows of one user agent, and a proxy forks to only one of them (§5.3).
//!
//! A shared worker has number 0, or its own where another build's worker has that (`worker.js` of the agent).
//! So each such page that is open at the same time takes its own number, guarded by a Web Lock, and derives
//! its instance id from the device's id and the number. A reloaded page gets its old number back, so that
//! the registrar does not see a further device.

use bitcall_wire::agent_protocol::numbered_instance;

use super::web_lock::{TryAcquire, WebLock};

/// More pages than anybody has open. Any further page shares number 0.
const MAX_INSTANCES: u32 = 32;

/// The number of this page among those of the device. Released when dropped.
pub struct InstanceNumber {
    number: u32,
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

    /// The instance id to register with, derived from the device's `urn:uuid:…`.
    pub fn id(&self, device: &str) -> String {
        numbered_instance(device, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_page_has_its_own_uuid() {
        let device = "urn:uuid:2f1c9a34-7b0e-4d52-9f6a-ffffffffffff";
        assert_eq!(numbered_instance(device, 0), device);
        assert_eq!(numbered_instance(device, 1), "urn:uuid:2f1c9a34-7b0e-4d52-9f6a-000000000000");
        assert_eq!(numbered_instance(device, 2), "urn:uuid:2f1c9a34-7b0e-4d52-9f6a-000000000001");
        assert_eq!(numbered_instance("", 3), "");
    }
}
