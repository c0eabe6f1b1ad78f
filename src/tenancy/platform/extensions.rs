//! Extensions on the built-in SIP edge: made, removed, and who the edge lets in.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::{Platform, no_randomness, stored_form};
use crate::store::{self, Batch};
use crate::tenancy::audit::AuditAction;
use crate::tenancy::extension::{Credentials, Extension, GENERATED_PASSWORD_LENGTH, NewExtension, checked_password};
use crate::tenancy::id::{TenantId, Username};
use crate::tenancy::key::random_text;
use crate::tenancy::records;
use crate::tenancy::refusal::Refusal;
use crate::tenancy::request_context::RequestContext;

/// An extension just made, or found as wanted.
pub struct AddedExtension {
    pub extension: Arc<Extension>,
    pub created: bool,
    /// Shown once.
    pub password: String,
}

impl Platform {
    /// In the order of their user names.
    pub fn extensions(&self, id: &TenantId) -> Result<Vec<Arc<Extension>>, Refusal> {
        self.tenant(id)?;
        Ok(self.snapshot().extensions(id.as_str()).cloned().collect())
    }

    /// Makes an extension on the built-in edge. The same one with the same
    /// password again is no error. With `reset`, an existing one gets the new password.
    /// A generated password is shown to `answer` and never again.
    pub async fn add_extension<A: Serialize>(
        &self,
        context: &RequestContext,
        id: &TenantId,
        new: NewExtension,
        reset: bool,
        answer: impl FnOnce(&AddedExtension) -> A,
    ) -> Result<A, Refusal> {
        let state = self.tenant(id)?;
        if let Some(password) = &new.password {
            checked_password(password).map_err(|invalid| invalid.at("password"))?;
        }
        let in_order = Arc::clone(&self.0.extension_change).lock_owned().await;
        let generated = new.password.is_none();
        let password = match new.password {
            Some(password) => password,
            None => random_text(GENERATED_PASSWORD_LENGTH).map_err(no_randomness)?,
        };
        let existing = self.snapshot().extension(id.as_str(), new.username.as_str()).cloned();
        let extension = Extension {
            credentials: Credentials::derive(new.username.as_str(), &state.edge_domain, &password),
            realm: state.edge_domain.clone(),
            created_at: existing.as_ref().map_or(context.at, |existing| existing.created_at),
            display_name: new.display_name.or_else(|| existing.as_ref()?.display_name.clone()),
            username: new.username,
        };
        let key = records::extension_key(id, &extension.username);
        let mut batch = Batch::new().put(&key, stored_form(&extension)?);
        let before = existing.as_deref().map_or(Value::Null, Extension::audit_value);
        let action = if existing.is_some() { "extension.password" } else { "extension.add" };
        match existing {
            Some(existing) if !generated && existing.credentials == extension.credentials && !reset => {
                return Ok(answer(&AddedExtension { extension: existing, created: false, password }));
            }
            Some(_) if !reset => {
                return Err(Refusal::ExtensionExists(extension.username.to_string()));
            }
            Some(_) => {}
            None => batch = batch.require_absent(&key),
        }
        let (tenant, username) = (id.clone(), extension.username.to_string());
        let action = AuditAction::on(id, action, before, extension.audit_value());
        let added = AddedExtension { extension: Arc::new(extension), created: true, password };
        let answer = answer(&added);
        let context = context.with_answer(&answer, id)?;
        let follow = move |platform: &Self, _| {
            platform.snapshot_mut().put_extension(&tenant, added.extension);
            drop(in_order);
        };
        match self.commit(&context, action, batch, follow).await {
            Ok(()) => Ok(answer),
            Err(store::Error::Conflict(missing)) if missing != key => Err(Refusal::TenantNotFound(id.to_string())),
            Err(store::Error::Conflict(_)) => Err(Refusal::ExtensionExists(username)),
            Err(error) => Err(Refusal::Unavailable(error)),
        }
    }

    pub async fn remove_extension(
        &self,
        context: &RequestContext,
        id: &TenantId,
        username: &Username,
    ) -> Result<(), Refusal> {
        self.tenant(id)?;
        let in_order = Arc::clone(&self.0.extension_change).lock_owned().await;
        let Some(existing) = self.snapshot().extension(id.as_str(), username.as_str()).cloned() else {
            return Err(Refusal::ExtensionNotFound(username.to_string()));
        };
        let action = AuditAction::on(id, "extension.remove", existing.audit_value(), Value::Null);
        let batch = Batch::new().remove(records::extension_key(id, username));
        let (tenant, username) = (id.clone(), username.clone());
        let follow = move |platform: &Self, _| {
            platform.snapshot_mut().remove_extension(&tenant, &username);
            drop(in_order);
        };
        self.commit(context, action, batch, follow).await.map_err(|error| match error {
            store::Error::Conflict(_) => Refusal::TenantNotFound(id.to_string()),
            other => Refusal::Unavailable(other),
        })
    }

    /// The digests by which the edge authenticates `username@domain`; none
    /// when there is no such extension or the edge is not its tenant's registrar.
    pub fn credentials(&self, domain: &str, username: &str) -> Option<Credentials> {
        let domain = domain.to_ascii_lowercase();
        let snapshot = self.snapshot();
        let state = snapshot.on_edge(&domain)?;
        let extension = snapshot.extension(state.tenant.id.as_str(), username)?;
        (extension.realm == domain).then(|| extension.credentials.clone())
    }

    /// Whether the edge is the registrar of `domain`.
    pub fn serves(&self, domain: &str) -> bool {
        let domain = domain.to_ascii_lowercase();
        self.snapshot().on_edge(&domain).is_some()
    }
}
