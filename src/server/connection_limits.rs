//! How many connections a listener holds, in all and from one network, so that a stranger's connections keep neither
//! other callers nor the operator out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::rate_limiter::ClientNetwork;

/// The connections of one listener, or of several that share them.
#[derive(Clone)]
pub struct ConnectionLimits {
    permits: Arc<Semaphore>,
    max: u32,
    networks: Arc<Networks>,
}

/// How many connections each network holds.
struct Networks {
    /// 0: as many as there are in all.
    max_per_network: Box<dyn Fn() -> usize + Send + Sync>,
    open: Mutex<HashMap<ClientNetwork, usize>>,
}

/// One connection's part of the limits; free again when it is dropped.
pub struct ConnectionPermit {
    _permit: OwnedSemaphorePermit,
    network: Option<NetworkPermit>,
}

struct NetworkPermit {
    network: ClientNetwork,
    networks: Arc<Networks>,
}

impl ConnectionLimits {
    /// `max_per_network` is asked at each connection, and may change. 0: as many as there are in all.
    pub fn new(max: usize, max_per_network: impl Fn() -> usize + Send + Sync + 'static) -> Self {
        let max = u32::try_from(max.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        Self {
            permits: Arc::new(Semaphore::new(max as usize)),
            max,
            networks: Arc::new(Networks { max_per_network: Box::new(max_per_network), open: Mutex::default() }),
        }
    }

    /// Waits until one more connection is allowed; meanwhile the kernel queues them.
    pub async fn permit(&self) -> Option<ConnectionPermit> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        Some(ConnectionPermit { _permit: permit, network: None })
    }

    /// Counts the connection among those of its network. None: the network holds as many as it may.
    pub fn admit(&self, mut permit: ConnectionPermit, address: IpAddr) -> Option<ConnectionPermit> {
        let network = ClientNetwork::of(address);
        let max = match (self.networks.max_per_network)() {
            0 => usize::MAX,
            max => max,
        };
        let mut open = self.networks.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(network).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        permit.network = Some(NetworkPermit { network, networks: Arc::clone(&self.networks) });
        Some(permit)
    }

    /// Waits until no connection is open.
    pub async fn all_closed(&self) {
        // Fails only for a closed semaphore; this one is never closed.
        let _ = self.permits.acquire_many(self.max).await;
    }

    /// Connections that are open.
    pub fn open(&self) -> u32 {
        self.max.saturating_sub(u32::try_from(self.permits.available_permits()).unwrap_or(u32::MAX))
    }
}

impl Drop for NetworkPermit {
    fn drop(&mut self) {
        let mut open = self.networks.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[tokio::test]
    async fn one_network_holds_its_share_and_leaves_the_rest_to_others() {
        let limits = ConnectionLimits::new(4, || 2);
        let admit = async |address: &str| limits.admit(limits.permit().await.unwrap(), address.parse().unwrap());
        let (first, second) = (admit("2001:db8::1").await.unwrap(), admit("2001:db8::2").await.unwrap());
        assert!(admit("2001:db8::3").await.is_none(), "of the same /64");
        let other = admit("2001:db8:0:1::1").await.unwrap();
        assert_eq!(limits.open(), 3);
        drop(first);
        assert!(admit("2001:db8::3").await.is_some());
        drop((second, other));
        limits.all_closed().await;
        assert!(limits.networks.open.lock().unwrap().is_empty());
    }
}
