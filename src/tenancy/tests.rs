//! The platform as a whole, on a store of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod audit;
mod keys;

use std::task::{Context, Waker};
use std::time::Duration;

use futures_util::future::join_all;

use super::effective::Defaults;
use super::extension::{Credentials, NewExtension};
use super::id::TenantId;
use super::key::{KeyId, KeyPurpose};
use super::names::Names;
use super::platform::{AddedExtension, NewKey, NewTenant, Platform, Provisioned};
use super::refusal::Refusal;
use super::request_context::RequestContext;
use super::runtime::RuntimeRefusal;
use super::settings::{Change, SettingsChange};
use super::transport::TransportDefaults;
use crate::store;

mod catalogue;
mod idempotency;
mod installation;
mod removal;
mod tokens;

struct TestPlatform {
    directory: tempfile::TempDir,
    platform: Platform,
}

impl TestPlatform {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let platform = Platform::open(directory.path(), defaults()).await.unwrap();
        Self { directory, platform }
    }

    /// As after a restart.
    async fn reopened(self) -> Self {
        let Self { directory, platform } = self;
        drop(platform);
        let platform = Platform::open(directory.path(), defaults()).await.unwrap();
        Self { directory, platform }
    }
}

fn defaults() -> Defaults {
    Defaults {
        public_url: "https://phone.example".parse().unwrap(),
        at_local_names: false,
        edge_domain: "sip.example".into(),
        turn_lifetime: Duration::from_hours(12),
        transport: TransportDefaults::default(),
        names: Names {
            base: Some("bitcall.example".parse().unwrap()),
            ingress: "phone.example".into(),
            public_host: "phone.example".into(),
        },
    }
}

fn context() -> RequestContext {
    RequestContext::of_bitcall()
}

fn acme() -> TenantId {
    "acme_corp".parse().unwrap()
}

fn extension(password: Option<&str>) -> NewExtension {
    NewExtension {
        username: "101".parse().unwrap(),
        display_name: Some("Anna".into()),
        password: password.map(str::to_owned),
    }
}

fn key_of(made: &Provisioned) -> String {
    made.api_key.as_str().to_owned()
}

fn password_of(added: &AddedExtension) -> String {
    added.password.clone()
}

#[tokio::test]
async fn everything_is_there_again_after_a_restart() {
    let test = TestPlatform::new().await;
    let platform = &test.platform;
    let mut new = NewTenant::named(acme());
    new.allowed_origins = vec!["https://crm.acme.com".parse().unwrap()];
    let key = platform.provision(&context(), new, key_of).await.unwrap();
    platform.add_extension(&context(), &acme(), extension(Some("long enough")), false, password_of).await.unwrap();
    let key = key.as_str();
    let before = platform.runtime_body(&platform.admit(Some(key), None, KeyPurpose::Pages).unwrap(), None);
    platform.store_key_uses().await.unwrap();
    let keys = platform.api_keys(&platform.tenant(&acme()).unwrap());
    assert!(keys[0].last_used_at.is_some());

    let test = test.reopened().await;
    let platform = &test.platform;
    assert_eq!(
        platform
            .runtime_body(&platform.admit(Some(key), Some("https://crm.acme.com"), KeyPurpose::Pages).unwrap(), None),
        before
    );
    assert!(platform.credentials("acme-corp.sip.example", "101").is_some());
    assert_eq!(platform.api_keys(&platform.tenant(&acme()).unwrap()), keys, "with the last uses");
    assert_eq!(platform.tenants().len(), 1);
}

#[tokio::test]
async fn the_edge_knows_an_extension_by_its_digests_under_the_tenants_domain() {
    let test = TestPlatform::new().await;
    let platform = &test.platform;
    platform.provision(&context(), NewTenant::named(acme()), key_of).await.unwrap();
    let added = platform.add_extension(&context(), &acme(), extension(None), false, password_of).await.unwrap();
    let expected = Credentials::derive("101", "acme-corp.sip.example", &added);
    assert_eq!(platform.credentials("ACME-corp.sip.example", "101"), Some(expected));
    assert!(platform.serves("acme-corp.sip.example"));
    for (domain, username) in [("acme-corp.sip.example", "102"), ("other.sip.example", "101"), ("sip.example", "101")] {
        assert_eq!(platform.credentials(domain, username), None, "{username}@{domain}");
    }

    let own_pbx = SettingsChange { sip_domain: Change::Set("pbx.acme.com".into()), ..SettingsChange::default() };
    platform.change_settings(&context(), &acme(), own_pbx).await.unwrap();
    assert!(!platform.serves("acme-corp.sip.example"), "its phones are elsewhere now");
    assert_eq!(platform.credentials("acme-corp.sip.example", "101"), None);
    let back = SettingsChange { sip_domain: Change::Reset, ..SettingsChange::default() };
    platform.change_settings(&context(), &acme(), back).await.unwrap();
    assert!(platform.credentials("acme-corp.sip.example", "101").is_some());

    platform.remove_extension(&context(), &acme(), &"101".parse().unwrap()).await.unwrap();
    assert_eq!(platform.credentials("acme-corp.sip.example", "101"), None);
}

#[tokio::test]
async fn an_extension_is_repeated_with_the_same_password_only() {
    let test = TestPlatform::new().await;
    let platform = &test.platform;
    platform.provision(&context(), NewTenant::named(acme()), key_of).await.unwrap();
    let outcome = |added: &AddedExtension| (added.created, added.extension.display_name.clone());
    let add =
        async |password, reset| platform.add_extension(&context(), &acme(), extension(password), reset, outcome).await;
    assert!(add(Some("first password"), false).await.unwrap().0);
    assert!(!add(Some("first password"), false).await.unwrap().0);
    assert!(matches!(add(Some("other password"), false).await, Err(Refusal::ExtensionExists(_))));
    assert!(matches!(add(None, false).await, Err(Refusal::ExtensionExists(_))));
    let nameless = NewExtension { display_name: None, ..extension(Some("other password")) };
    let reset = platform.add_extension(&context(), &acme(), nameless, true, outcome).await.unwrap();
    assert_eq!(reset.1.as_deref(), Some("Anna"), "a new password is no new person");
    assert!(!add(Some("other password"), false).await.unwrap().0);
}

#[tokio::test]
async fn changes_that_meet_are_all_kept() {
    let test = TestPlatform::new().await;
    let mut new = NewTenant::named(acme());
    new.plan_id = Some("enterprise".into());
    test.platform.provision(&context(), new, key_of).await.unwrap();
    let (acme, context) = (&acme(), &context());
    let keys = join_all((0..15).map(|n| {
        test.platform.create_key(context, acme, NewKey { label: Some(n.to_string()), ..NewKey::default() }, |_, _| ())
    }));
    let names = join_all((0..15).map(|n| {
        let change = SettingsChange { display_name: Change::Set(n.to_string()), ..SettingsChange::default() };
        test.platform.change_settings(context, acme, change)
    }));
    let (keys, names) = tokio::join!(keys, names);
    assert!(keys.iter().all(Result::is_ok) && names.iter().all(Result::is_ok));
    let state = test.platform.tenant(acme).unwrap();
    assert_eq!(state.tenant.api_keys.len(), 16);
    let stored = test.reopened().await.platform.tenant(acme).unwrap();
    assert_eq!(stored.tenant, state.tenant, "memory and disk agree");
}

/// Begins a change and drops it at once, as when its client hangs up, then waits for the outcome.
async fn abandoned<T>(platform: &Platform, change: impl Future<Output = T>, happened: impl Fn() -> bool) {
    let mut changes = platform.changes();
    let mut change = Box::pin(change);
    let begun = change.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(begun.is_pending());
    drop(change);
    let seen = tokio::time::timeout(Duration::from_secs(20), changes.changed()).await;
    assert!(seen.is_ok_and(|seen| seen.is_ok()) && happened(), "memory follows the store, and whoever watches is told");
}

#[tokio::test]
async fn a_change_whose_client_goes_away_is_made_in_memory_too() {
    let test = TestPlatform::new().await;
    let platform = &test.platform;
    let acme = &acme();
    let anna = "101".parse().unwrap();
    abandoned(platform, platform.provision(&context(), NewTenant::named(acme.clone()), key_of), || {
        platform.tenant(acme).is_ok()
    })
    .await;
    let named = SettingsChange { display_name: Change::Set("New".into()), ..SettingsChange::default() };
    let name = || platform.tenant(acme).unwrap().tenant.settings.display_name.clone();
    abandoned(platform, platform.change_settings(&context(), acme, named), || name().as_deref() == Some("New")).await;
    let extensions = || platform.extensions(acme).unwrap().len();
    abandoned(platform, platform.add_extension(&context(), acme, extension(None), false, password_of), || {
        extensions() == 1
    })
    .await;
    abandoned(platform, platform.remove_extension(&context(), acme, &anna), || extensions() == 0).await;
}

#[tokio::test]
async fn a_disabled_tenant_gets_nothing_and_its_extensions_neither() {
    let test = TestPlatform::new().await;
    let platform = &test.platform;
    let mut new = NewTenant::named(acme());
    new.allowed_origins = vec!["https://crm.acme.com".parse().unwrap()];
    let key = platform.provision(&context(), new, key_of).await.unwrap();
    platform.add_extension(&context(), &acme(), extension(None), false, password_of).await.unwrap();
    platform
        .change(&context(), &acme(), "tenant.disable", |tenant, _| {
            tenant.enabled = false;
            Ok(())
        })
        .await
        .unwrap();
    let ask = |origin| platform.admit(Some(key.as_str()), origin, KeyPurpose::Pages);
    assert_eq!(ask(Some("https://crm.acme.com")), Err(RuntimeRefusal::TenantDisabled));
    assert_eq!(ask(None), Err(RuntimeRefusal::TenantDisabled));
    assert_eq!(ask(Some("https://evil.example")), Err(RuntimeRefusal::OriginForbidden), "strangers learn nothing");
    assert!(!platform.serves("acme-corp.sip.example"));
    assert_eq!(platform.credentials("acme-corp.sip.example", "101"), None);
}

#[tokio::test]
async fn a_change_that_the_plan_does_not_allow_is_refused_whole() {
    let test = TestPlatform::new().await;
    let platform = &test.platform;
    platform.provision(&context(), NewTenant::named(acme()), key_of).await.unwrap();
    let before = platform.tenant(&acme()).unwrap().tenant.clone();
    let change = SettingsChange {
        display_name: Change::Set("New".into()),
        wss: Change::Set(vec!["wss://pbx".into()]),
        ..SettingsChange::default()
    };
    let plan = platform.values_of(&platform.tenant(&acme()).unwrap()).plan.entitlements.clone();
    let rights = super::plan::Entitlements { wss_override: false, ..plan };
    let mut tenant = before.clone();
    assert!(matches!(tenant.change_settings(change.clone(), &rights), Err(Refusal::NotEntitled { field: "wss", .. })));
    assert_eq!(tenant, before);
}

#[tokio::test]
async fn what_does_not_exist_is_refused_by_name() {
    let test = TestPlatform::new().await;
    let platform = &test.platform;
    let nobody = SettingsChange::default();
    assert!(matches!(platform.change_settings(&context(), &acme(), nobody).await, Err(Refusal::TenantNotFound(_))));
    assert!(matches!(
        platform.create_key(&context(), &acme(), NewKey::default(), |_, _| ()).await,
        Err(Refusal::TenantNotFound(_))
    ));
    assert!(matches!(
        platform.add_extension(&context(), &acme(), extension(None), false, password_of).await,
        Err(Refusal::TenantNotFound(_))
    ));
    platform.provision(&context(), NewTenant::named(acme()), key_of).await.unwrap();
    let key = KeyId("key_unknown".into());
    assert!(matches!(platform.revoke_key(&context(), &acme(), &key).await, Err(Refusal::ApiKeyNotFound(_))));
    let nobody = "102".parse().unwrap();
    assert!(matches!(
        platform.remove_extension(&context(), &acme(), &nobody).await,
        Err(Refusal::ExtensionNotFound(_))
    ));
    let mut gold = NewTenant::named("other".parse().unwrap());
    gold.plan_id = Some("gold".into());
    assert!(matches!(platform.provision(&context(), gold, key_of).await, Err(Refusal::Validation(_))));
}
