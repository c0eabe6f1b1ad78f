//! API keys: old ones, replaced ones, and the rules about their number.

use std::time::Duration;

use super::{TestPlatform, acme, context, key_of};
use crate::tenancy::key::{KeyId, KeyPurpose, Pepper, StoredKey};
use crate::tenancy::plan;
use crate::tenancy::platform::{NewKey, NewTenant, Platform};
use crate::tenancy::refusal::Refusal;
use crate::tenancy::settings::Settings;
use crate::tenancy::tenant::{PlanStatus, Tenant};
use crate::timestamp::Timestamp;

#[tokio::test]
async fn a_key_made_before_the_checksum_is_valid_as_ever() {
    let test = TestPlatform::new().await;
    let platform = &test.platform;
    platform.provision(&context(), NewTenant::named(acme()), key_of).await.unwrap();
    let old = "bk_live_abcdefghijkmnpqrstuvwxyz23456789";
    let hash = Pepper::load_or_create(&test.directory.path().join("key-pepper")).unwrap().hash(old);
    let (_, stored) = platform
        .change(&context(), &acme(), "key.create", |tenant, _| {
            tenant.api_keys[0].hash = hash;
            Ok(tenant.api_keys[0].clone())
        })
        .await
        .unwrap();
    assert_eq!(stored.retires_at, None);
    assert!(platform.admit(Some(old), None, KeyPurpose::Pages).is_ok());
    let test = test.reopened().await;
    assert!(test.platform.admit(Some(old), None, KeyPurpose::Pages).is_ok(), "read from the disk");
}

async fn created(platform: &Platform) -> String {
    platform.create_key(&context(), &acme(), NewKey::default(), |key, _| key.as_str().to_owned()).await.unwrap()
}

/// A retirement that nobody rotated into being: a moment ago, as after a stop of the server.
async fn retire(platform: &Platform, key: usize, moment: Timestamp) {
    let rule = |tenant: &mut Tenant, _: &_| {
        tenant.api_keys[key].retires_at = Some(moment);
        Ok(())
    };
    platform.change(&context(), &acme(), "key.rotate", rule).await.unwrap();
}

#[tokio::test]
async fn a_retired_key_is_refused_while_it_is_still_stored_and_then_dropped() {
    let test = TestPlatform::new().await;
    let platform = &test.platform;
    let first = platform.provision(&context(), NewTenant::named(acme()), key_of).await.unwrap();
    let other = created(platform).await;
    let open = |key: &str| platform.admit(Some(key), None, KeyPurpose::Pages).is_ok();
    retire(platform, 0, Timestamp::now().after(Duration::from_hours(1))).await;
    assert!(open(&first) && open(&other));
    retire(platform, 0, Timestamp::now()).await;
    assert!(!open(&first) && open(&other));
    let state = platform.tenant(&acme()).unwrap();
    assert_eq!(state.tenant.api_keys.len(), 2, "nobody has dropped it yet");
    assert_eq!(platform.api_keys(&state).len(), 1, "but it is shown no more");
    let id = state.tenant.api_keys[0].id.clone();
    let again = platform.rotate_key(&context(), &acme(), &id, Duration::ZERO, |_, _, _| ()).await;
    assert!(matches!(again, Err(Refusal::ApiKeyNotFound(_))), "nor can it be replaced");

    let mut changes = platform.changes();
    let sweeper = tokio::spawn(platform.clone().drop_retiring_keys());
    let dropped = async {
        while platform.tenant(&acme()).unwrap().tenant.api_keys.len() > 1 {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), dropped).await.expect("it is dropped");
    // The sweeper waits; what is due sooner than all before wakes it.
    let third = created(platform).await;
    retire(platform, 0, Timestamp::now()).await;
    let dropped = async {
        while platform.tenant(&acme()).unwrap().tenant.api_keys.len() > 1 {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), dropped).await.expect("it is dropped, too");
    assert!(open(&third) && !open(&other));
    sweeper.abort();
}

#[test]
fn a_rotation_is_beyond_the_limit_and_the_last_key_stays() {
    let rights = plan::free().entitlements;
    let now = Timestamp(1_000_000);
    let later = now.after(Duration::from_mins(1));
    let key = |id: &str| StoredKey {
        id: KeyId(id.into()),
        label: format!("label of {id}"),
        purpose: KeyPurpose::default(),
        hash: Pepper::new(b"a pepper").unwrap().hash(id),
        created_at: now,
        retires_at: None,
    };
    let id = |id: &str| KeyId(id.into());
    let mut tenant = tenant_with(vec![key("a"), key("b")]);
    assert!(matches!(tenant.add_key(key("c"), &rights), Err(Refusal::ApiKeyLimitReached(2))));

    let (new, old) = tenant.rotate_key(&id("a"), key("c"), later, now).unwrap();
    assert_eq!((new.label.as_str(), old.retires_at), ("label of a", Some(later)));
    assert_eq!((tenant.api_keys.len(), tenant.staying_keys()), (3, 2));
    assert!(matches!(tenant.rotate_key(&id("a"), key("d"), later, now), Err(Refusal::ApiKeyRetiring(_))));
    assert!(matches!(tenant.add_key(key("d"), &rights), Err(Refusal::ApiKeyLimitReached(2))));

    assert_eq!(tenant.revoke_key(&id("b")).ok(), Some(true));
    assert!(matches!(tenant.revoke_key(&id("c")), Err(Refusal::LastApiKey)), "the other one retires");
    assert!(tenant.add_key(key("d"), &rights).is_ok(), "what retires does not count");
    assert_eq!(tenant.revoke_key(&id("d")).ok(), Some(true));
    assert_eq!(tenant.revoke_key(&id("a")).ok(), Some(true), "what retires may go at once");
    assert_eq!(tenant.revoke_key(&id("a")).ok(), Some(false));

    let (_, old) = tenant.rotate_key(&id("c"), key("e"), now, now).unwrap();
    assert_eq!(old.retires_at, Some(now));
    assert_eq!(tenant.api_keys.len(), 1, "without an overlap it is gone at once");
    assert_eq!(tenant.revoke_key(&id("c")).ok(), Some(false), "and known as revoked");
}

#[test]
fn rotating_in_a_loop_ends() {
    let key = |n: u32| StoredKey {
        id: KeyId(n.to_string()),
        label: String::new(),
        purpose: KeyPurpose::default(),
        hash: Pepper::new(b"a pepper").unwrap().hash(&n.to_string()),
        created_at: Timestamp(0),
        retires_at: None,
    };
    let mut tenant = tenant_with(vec![key(0)]);
    let rotated = (0..100)
        .take_while(|&n| tenant.rotate_key(&KeyId(n.to_string()), key(n + 1), Timestamp(1), Timestamp(0)).is_ok());
    assert_eq!(rotated.count(), 16);
    assert!(tenant.rotate_key(&KeyId("16".into()), key(17), Timestamp(0), Timestamp(0)).is_ok(), "at once is possible");
    tenant.drop_retired_keys(Timestamp(1));
    assert_eq!(tenant.api_keys.len(), 1);
}

fn tenant_with(api_keys: Vec<StoredKey>) -> Tenant {
    Tenant {
        id: acme(),
        enabled: true,
        plan_id: "free".into(),
        plan_status: PlanStatus::Active,
        settings: Settings::default(),
        subdomain: None,
        custom_domain: None,
        lost_domain: None,
        api_keys,
        revoked_keys: Vec::new(),
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    }
}

#[tokio::test]
async fn a_key_from_before_there_were_purposes_serves_both() {
    let test = TestPlatform::new().await;
    let old = test.platform.provision(&context(), NewTenant::named(acme()), key_of).await.unwrap();
    let name = super::super::records::tenant_key(acme().as_str());
    let record = test.platform.0.store.get(&name).await.unwrap().unwrap();
    let mut stored: serde_json::Value = serde_json::from_slice(&record.bytes).unwrap();
    assert_eq!(stored["r"]["apiKeys"][0].as_object_mut().unwrap().remove("purpose"), Some("both".into()));
    let bytes = serde_json::to_vec(&stored).unwrap();
    test.platform.0.store.commit(crate::store::Batch::new().put(name, bytes)).await.unwrap();
    let test = test.reopened().await;
    for needed in [KeyPurpose::Pages, KeyPurpose::Backend] {
        assert!(test.platform.admit(Some(&old), None, needed).is_ok());
    }
}
