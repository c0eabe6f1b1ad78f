//! The transport that tenants inherit who set none of their own.

use serde_json::Value;

use super::{Platform, decode, stored_form};
use crate::store::{self, Batch};
use crate::tenancy::act::Act;
use crate::tenancy::audit::Deed;
use crate::tenancy::fault::Refusal;
use crate::tenancy::records::TRANSPORT_DEFAULTS;
use crate::tenancy::transport::{TransportChange, TransportDefaults};

impl Platform {
    /// Every tenant that inherits has the new values at once.
    pub async fn change_transport_defaults(
        &self,
        act: &Act,
        change: TransportChange,
    ) -> Result<TransportDefaults, Refusal> {
        loop {
            let turn = self.only_turn().await;
            let stored = self.0.store.get(TRANSPORT_DEFAULTS).await.map_err(Refusal::Unavailable)?;
            let before: Option<TransportDefaults> = match &stored {
                Some(record) => Some(decode(TRANSPORT_DEFAULTS, &record.bytes).map_err(Refusal::Unavailable)?),
                None => None,
            };
            let mut after = before.clone().unwrap_or_default();
            after.apply(change.clone());
            if before.clone().unwrap_or_default() == after {
                return Ok(after);
            }
            let batch = match stored {
                Some(record) => Batch::new().require_revision(TRANSPORT_DEFAULTS, record.revision),
                None => Batch::new().require_absent(TRANSPORT_DEFAULTS),
            };
            let batch = batch.put(TRANSPORT_DEFAULTS, stored_form(&after)?);
            let told = before.as_ref().map_or(Value::Null, TransportDefaults::told);
            let deed = Deed::on_platform("transport.defaults", told, after.told());
            let follow = move |platform: &Self, _| {
                platform.snapshot_mut().put_transport_defaults(after.clone());
                after
            };
            match self.commit_in(turn, act, deed, batch, follow).await {
                Ok(after) => return Ok(after),
                Err(store::Error::Conflict(_)) => {}
                Err(error) => return Err(Refusal::Unavailable(error)),
            }
        }
    }
}
