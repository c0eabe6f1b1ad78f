//! The audit log: paged by a bounded amount of work, and forgotten when it is old.

use super::{TestPlatform, acme, context, key_of};
use crate::store::{Batch, MAX_BATCH_OPERATIONS};
use crate::tenancy::audit::{AuditEntry, AuditId, AuditSearch};
use crate::tenancy::id::TenantId;
use crate::tenancy::platform::{NewTenant, Platform};
use crate::tenancy::records::{audit_key, encode};
use crate::timestamp::Timestamp;

fn everything() -> AuditSearch {
    AuditSearch { tenant: None, action: None, since: None, until: None, before: None, limit: 1000 }
}

/// So many entries of a tenant, one for each millisecond since 1970.
async fn fill(platform: &Platform, tenant: &str, moments: std::ops::Range<i64>) {
    let tenant: TenantId = tenant.parse().unwrap();
    let moments: Vec<_> = moments.collect();
    let commits = moments.chunks(MAX_BATCH_OPERATIONS).map(|some| {
        let batch = some.iter().fold(Batch::new(), |batch, moment| {
            let entry = AuditEntry {
                at: Timestamp(*moment),
                actor: context().actor,
                request_id: String::new(),
                action: "tenant.config".into(),
                tenant_id: Some(TenantId::clone(&tenant)),
                before: serde_json::Value::Null,
                after: serde_json::Value::Null,
            };
            batch.put(audit_key(&AuditId::new(entry.at, 0), Some(&tenant)), encode(&entry).unwrap())
        });
        platform.0.store.commit(batch)
    });
    futures_util::future::try_join_all(commits).await.unwrap();
}

#[tokio::test]
async fn a_rare_tenant_is_found_behind_many_others_a_page_at_a_time() {
    let test = TestPlatform::new().await;
    let platform = &test.platform;
    fill(platform, "rare", 0..1).await;
    fill(platform, "busy", 1..30_000).await;
    let mut search = AuditSearch { tenant: Some("rare".parse().unwrap()), ..everything() };
    let first = platform.audit(&search).await.unwrap();
    assert!(first.entries.is_empty() && first.next.is_some(), "so much work and no more");
    search.before = first.next;
    let second = platform.audit(&search).await.unwrap();
    assert_eq!((second.entries.len(), second.next), (1, None));
}

#[tokio::test]
async fn entries_are_forgotten_when_they_are_old_and_not_before() {
    let test = TestPlatform::new().await;
    let platform = &test.platform;
    fill(platform, "acme_corp", 0..1_200).await;
    platform.provision(&context(), NewTenant::named(acme()), key_of).await.unwrap();
    platform.remove_audit_before(Timestamp(1_100)).await.unwrap();
    let left = platform.audit(&everything()).await.unwrap();
    assert_eq!(left.entries.len(), 101);
    assert_eq!(left.entries.last().unwrap().1.at, Timestamp(1_100));
    platform.remove_audit_before(Timestamp::now().before(std::time::Duration::from_hours(1))).await.unwrap();
    let left = platform.audit(&everything()).await.unwrap();
    assert_eq!(left.entries.len(), 1, "what is young stays");
}
