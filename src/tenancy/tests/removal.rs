//! After a tenant is deleted, nothing of it is left anywhere.

use std::path::Path;

use redb::{ReadableDatabase as _, ReadableTable as _, TableDefinition};

use super::{TestPlatform, acme, context, extension, key_of, password_of};
use crate::store;
use crate::tenancy::id::TenantId;
use crate::tenancy::key::KeyPurpose;
use crate::tenancy::platform::{NewKey, NewTenant};
use crate::tenancy::records;
use crate::tenancy::refusal::Refusal;
use crate::tenancy::runtime::RuntimeRefusal;
use crate::tenancy::settings::{Change, SettingsChange};

/// Every key and value of every table in the store's file, one after the other; then every byte of every file after
/// `bitcall store compact`.
pub(super) async fn whole_store(test: TestPlatform) -> Vec<u8> {
    let TestPlatform { directory, platform } = test;
    drop(platform);
    let path = directory.path().join("bitcall.redb");
    let mut all = every_record(&path);
    store::compact(&path, |_, _| ()).unwrap();
    for file in std::fs::read_dir(directory.path()).unwrap() {
        all.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    all
}

fn every_record(path: &Path) -> Vec<u8> {
    let database = redb::Database::open(path).unwrap();
    let transaction = database.begin_read().unwrap();
    let mut tables = 0;
    let mut all = Vec::new();
    for table in transaction.list_tables().unwrap() {
        tables += 1;
        if redb::TableHandle::name(&table) == "counters" {
            continue; // Numbers only.
        }
        let records: TableDefinition<&str, (u64, &[u8])> = TableDefinition::new("records");
        for entry in transaction.open_table(records).unwrap().iter().unwrap() {
            let (key, value) = entry.unwrap();
            all.extend_from_slice(key.value().as_bytes());
            all.push(b'\n');
            all.extend_from_slice(value.value().1);
            all.push(b'\n');
        }
    }
    assert_eq!(tables, 2, "a new table is to be looked through here too");
    all
}

pub(super) fn holds(all: &[u8], text: &str) -> bool {
    all.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn of_a_deleted_tenant_no_byte_is_left_and_of_the_others_every_one() {
    let test = TestPlatform::new().await;
    let platform = &test.platform;
    let other: TenantId = "acme_corp_2".parse().unwrap();
    for id in [acme(), other.clone()] {
        let mut new = NewTenant::named(id.clone());
        new.display_name = Some(format!("Name of {id}!"));
        new.allowed_origins = vec!["https://crm.acme.com".parse().unwrap()];
        let made = platform.provision(&context(), new, key_of).await.unwrap();
        let second = platform.create_key(&context(), &id, NewKey::default(), |_, meta| meta.id).await.unwrap();
        platform.admit(Some(made.as_str()), None, KeyPurpose::Pages).unwrap();
        platform.revoke_key(&context(), &id, &second).await.unwrap();
        platform.add_extension(&context(), &id, extension(None), false, password_of).await.unwrap();
        let change = SettingsChange { display_name: Change::Reset, ..SettingsChange::default() };
        platform.change_settings(&context(), &id, change).await.unwrap();
    }
    platform.store_key_uses().await.unwrap();
    let state = platform.tenant(&acme()).unwrap();
    let mut traces = vec!["\"acme_corp\"".to_owned(), "/acme_corp\n".into(), "acme_corp/".into(), "acme-corp\n".into()];
    traces.extend(["acme-corp.sip".into(), "Name of acme_corp!".into()]);
    traces.extend(state.tenant.revoked_keys.iter().map(|id| id.0.clone()));
    traces.extend(state.tenant.api_keys.iter().flat_map(|key| [key.id.0.clone(), String::from(key.hash)]));

    let planned = platform.preview_removal(&context(), &acme()).await.unwrap();
    assert!(platform.tenant(&acme()).is_ok(), "telling changes nothing");
    let removed = platform.remove_tenant(&context(), &acme()).await.unwrap();
    assert_eq!(removed, planned);
    for (kind, count) in [("apiKeys", 1), ("extensions", 1), ("keyUses", 1), ("auditEntries", 5)] {
        assert_eq!(removed.counts[kind], count, "{kind}");
    }
    let hash = platform.tenant_hash(&acme());
    assert!(platform.tenant(&other).is_ok());

    let all = whole_store(test).await;
    let of_either = all.windows(11).filter(|window| window.starts_with(b"acme_corp"));
    assert_eq!(of_either.filter(|window| !window.ends_with(b"_2")).count(), 0);
    for trace in &traces {
        assert!(!holds(&all, trace), "{trace} is still there");
        let of_the_other = trace.replace("acme_corp", "acme_corp_2").replace("acme-corp", "acme-corp-2");
        assert!(trace == &of_the_other || holds(&all, &of_the_other), "{of_the_other} is gone");
    }
    assert!(holds(&all, &hash), "who knows the id finds that it was deleted");
}

#[tokio::test]
async fn a_deleted_tenant_is_unknown_everywhere_and_its_name_is_free_again() {
    let test = TestPlatform::new().await;
    let platform = &test.platform;
    let key = platform.provision(&context(), NewTenant::named(acme()), key_of).await.unwrap();
    platform.add_extension(&context(), &acme(), extension(None), false, password_of).await.unwrap();
    let mut changes = platform.changes();
    platform.remove_tenant(&context(), &acme()).await.unwrap();
    assert!(changes.has_changed().unwrap(), "the edge looks again");
    changes.mark_unchanged();
    assert_eq!(platform.admit(Some(key.as_str()), None, KeyPurpose::Pages).err(), Some(RuntimeRefusal::InvalidKey));
    assert!(!platform.serves("acme-corp.sip.example"));
    assert_eq!(platform.credentials("acme-corp.sip.example", "101"), None);
    assert!(matches!(platform.remove_tenant(&context(), &acme()).await, Err(Refusal::TenantNotFound(_))));

    platform.provision(&context(), NewTenant::named(acme()), key_of).await.unwrap();
    assert_eq!(platform.extensions(&acme()).unwrap().len(), 0, "the new one inherits nothing");
    let test = test.reopened().await;
    assert_eq!(test.platform.extensions(&acme()).unwrap().len(), 0);
}

#[tokio::test]
async fn changes_that_meet_a_removal_leave_nothing_behind() {
    for round in 0..20 {
        let test = TestPlatform::new().await;
        let platform = &test.platform;
        let key = platform.provision(&context(), NewTenant::named(acme()), key_of).await.unwrap();
        platform.admit(Some(key.as_str()), None, KeyPurpose::Pages).unwrap();
        let (context, id) = (&context(), &acme());
        let changes = futures_util::future::join_all((0..8).map(|n| async move {
            for _ in 0..(n * round) % 7 {
                tokio::task::yield_now().await;
            }
            let named = SettingsChange { display_name: Change::Set(format!("n{n}")), ..SettingsChange::default() };
            let _ = platform.change_settings(context, id, named).await;
            let _ = platform.add_extension(context, id, extension(None), true, password_of).await;
            let _ = platform.create_key(context, id, NewKey::default(), |_, meta| meta.id).await;
            platform.store_key_uses().await.unwrap();
        }));
        let (_, removed) = tokio::join!(changes, platform.remove_tenant(context, id));
        removed.unwrap();
        assert!(platform.tenant(id).is_err(), "memory does not remember it");
        let all = whole_store(test).await;
        assert!(!holds(&all, "acme_corp"), "round {round}: {}", String::from_utf8_lossy(&all));
    }
}

#[tokio::test]
async fn a_removal_that_a_crash_interrupted_is_finished_by_the_next_start() {
    let test = TestPlatform::new().await;
    let platform = &test.platform;
    platform.provision(&context(), NewTenant::named(acme()), key_of).await.unwrap();
    platform.add_extension(&context(), &acme(), extension(None), false, password_of).await.unwrap();
    let store = platform.store();
    let entries = store.keys(records::AUDIT, None, 100).await.unwrap();
    let extensions = store.scan(records::EXTENSIONS).await.unwrap();
    let audit = store.scan(records::AUDIT).await.unwrap();
    platform.remove_tenant(&context(), &acme()).await.unwrap();
    // As it was between the two phases: the tenant is gone, its other records are still there.
    let mut batch = store::Batch::new().put(records::removal_key(&acme()), store::encode(&acme()).unwrap());
    for (key, record) in extensions.into_iter().chain(audit) {
        batch = batch.put(key, record.bytes);
    }
    store.commit(batch).await.unwrap();
    drop(store);

    let test = test.reopened().await;
    assert!(test.platform.tenant(&acme()).is_err());
    let left = test.platform.store().keys(records::AUDIT, None, 100).await.unwrap();
    assert!(entries.iter().all(|key| !left.contains(key)), "{left:?}");
    let all = whole_store(test).await;
    assert!(!holds(&all, "acme_corp"), "{}", String::from_utf8_lossy(&all));
}

#[tokio::test]
async fn an_id_whose_removal_is_not_finished_is_provisioned_only_afterwards() {
    let test = TestPlatform::new().await;
    let platform = &test.platform;
    let store = platform.store();
    let old = format!("{}acme_corp/101", records::EXTENSIONS);
    let marker = store::Batch::new().put(records::removal_key(&acme()), store::encode(&acme()).unwrap());
    store.commit(marker.put(&old, b"{}".to_vec())).await.unwrap();
    let refused = platform.provision(&context(), NewTenant::named(acme()), key_of).await;
    assert!(matches!(refused, Err(Refusal::Unavailable(_))));
    assert_eq!(store.get(&old).await.unwrap(), None, "the old records are gone first");
    platform.provision(&context(), NewTenant::named(acme()), key_of).await.unwrap();
}
