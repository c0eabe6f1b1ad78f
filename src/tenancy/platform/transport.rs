//! The transport that tenants inherit who set none of their own.

use serde_json::Value;

use super::{Platform, decode, stored_form};
use crate::store::{self, Batch};
use crate::tenancy::audit::AuditAction;
use crate::tenancy::records::TRANSPORT_DEFAULTS;
use crate::tenancy::refusal::Refusal;
use crate::tenancy::request_context::RequestContext;
use crate::tenancy::transport::{TransportChange, TransportDefaults};

impl Platform {
    /// Every tenant that inherits has the new values at once.
    pub async fn change_transport_defaults(
        &self,
        context: &RequestContext,
        change: TransportChange,
    ) -> Result<TransportDefaults, Refusal> {
        loop {
            let gate = self.close_write_gate().await;
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
            let audited = before.as_ref().map_or(Value::Null, TransportDefaults::audit_value);
            let action = AuditAction::on_platform("transport.defaults", audited, after.audit_value());
            let follow = move |platform: &Self, _| {
                platform.snapshot_mut().put_transport_defaults(after.clone());
                after
            };
            match self.commit_in(gate, context, action, batch, follow).await {
                Ok(after) => return Ok(after),
                Err(store::Error::Conflict(_)) => {}
                Err(error) => return Err(Refusal::Unavailable(error)),
            }
        }
    }
}
