//! The signals that concern a server.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::reload::Reload;
use crate::api::Access;

/// Registered before the server says that it is ready, because whoever hears that may order the stop at once.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    pub async fn wait_for_stop(&mut self, mut reload: Option<&mut Reload>, access: &Access) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => match &mut reload {
                    Some(reload) => reload.now(access),
                    None => return,
                },
            }
        }
    }
}
