//! Requests that come again, and changes of what somebody else has changed.

use std::time::Instant;

use super::*;
use crate::tenancy::idempotency::Idempotency;
use crate::tenancy::records;
use crate::tenancy::request_context::Actor;
use crate::timestamp::Timestamp;

const KEY: &str = "8e03978e-40d5-43dd-bc93-6894a57f9324";
const NOON: Timestamp = Timestamp(1_773_489_600_000);
const HOUR_MS: i64 = 3_600_000;

impl TestPlatform {
    /// The request that provisions acme, with an idempotency key; what it was answered, and whether it had been before.
    async fn provisioned(&self, scope: &str, request: &str, at: Timestamp) -> Result<(String, bool), Refusal> {
        let mut context = RequestContext { at, ..context() };
        match self.platform.begin(scope, KEY, request.as_bytes(), at).await? {
            Idempotency::Before(answer) => Ok((serde_json::from_slice(&answer).unwrap(), true)),
            Idempotency::Now(attempt) => {
                context.idempotent_request = Some(attempt);
                Ok((self.platform.provision(&context, NewTenant::named(acme()), key_of).await?, false))
            }
        }
    }

    async fn records(&self, prefix: &str) -> Vec<(String, store::Record)> {
        self.platform.0.store.scan(prefix).await.unwrap()
    }
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer_also_after_a_restart() {
    let test = TestPlatform::new().await;
    let (key, _) = test.provisioned("panel", "a", NOON).await.unwrap();
    assert_eq!(test.provisioned("panel", "a", NOON).await.unwrap(), (key.clone(), true));
    let test = test.reopened().await;
    let late = Timestamp(NOON.0 + 24 * HOUR_MS - 1);
    assert_eq!(test.provisioned("panel", "a", late).await.unwrap(), (key, true));
}

#[tokio::test]
async fn the_same_key_for_another_request_is_refused() {
    let test = TestPlatform::new().await;
    test.provisioned("panel", "a", NOON).await.unwrap();
    assert!(matches!(test.provisioned("panel", "b", NOON).await, Err(Refusal::KeyReused)));
    let other = test.provisioned("tenant acme_corp", "a", NOON).await;
    assert!(matches!(other, Err(Refusal::TenantExists(_))), "another caller's keys are other keys");
}

#[tokio::test]
async fn a_refused_request_may_be_tried_again_with_its_key() {
    let test = TestPlatform::new().await;
    test.platform.provision(&context(), NewTenant::named(acme()), key_of).await.unwrap();
    for request in ["a", "a", "b"] {
        let again = test.provisioned("panel", request, NOON).await;
        assert!(matches!(again, Err(Refusal::TenantExists(_))), "{request}");
    }
}

#[tokio::test]
async fn while_a_request_is_being_done_its_repetition_is_told_so() {
    let test = TestPlatform::new().await;
    let Ok(Idempotency::Now(first)) = test.platform.begin("panel", KEY, b"a", NOON).await else {
        panic!("it is new");
    };
    assert!(matches!(test.provisioned("panel", "a", NOON).await, Err(Refusal::StillAtWork)));
    drop(first);
    assert!(test.provisioned("panel", "a", NOON).await.is_ok());
}

#[tokio::test]
async fn a_request_whose_client_went_away_is_not_done_twice() {
    // At some of these moments its commit is on the way.
    for moment in (0..60).map(|n| n * Duration::from_micros(100)) {
        let test = TestPlatform::new().await;
        {
            let mut sent = std::pin::pin!(test.provisioned("panel", "a", NOON));
            let mut context = Context::from_waker(Waker::noop());
            let begun = Instant::now();
            while sent.as_mut().poll(&mut context).is_pending() && begun.elapsed() < moment {
                tokio::task::yield_now().await;
            }
        }
        let (key, _) = loop {
            match test.provisioned("panel", "a", NOON).await {
                Err(Refusal::StillAtWork) => tokio::task::yield_now().await,
                again => break again.unwrap(),
            }
        };
        assert!(test.platform.key(&key).is_some(), "the answer that it gets is about what there is");
    }
}

#[tokio::test]
async fn the_store_holds_no_answer_in_clear_and_forgets_it_after_a_day() {
    let test = TestPlatform::new().await;
    let (key, _) = test.provisioned("panel", "a", NOON).await.unwrap();
    for (name, record) in test.records("").await {
        let record_text = format!("{name} {}", String::from_utf8_lossy(&record.bytes));
        assert!(!record_text.contains(&key[8..]) && !record_text.contains(KEY), "{record_text}");
    }
    let almost = Timestamp(NOON.0 + 24 * HOUR_MS - 1);
    test.platform.expire_answers_now(almost).await.unwrap();
    assert_eq!(test.records("replay").await.len(), 2);
    let over = Timestamp(NOON.0 + 24 * HOUR_MS);
    let again = test.provisioned("panel", "a", over).await;
    assert!(matches!(again, Err(Refusal::TenantExists(_))), "its day is over, swept or not");
    test.platform.expire_answers_now(over).await.unwrap();
    assert_eq!(test.records("replay").await, []);
}

#[tokio::test]
async fn deleting_a_tenant_removes_the_answers_kept_about_it() {
    let test = TestPlatform::new().await;
    test.provisioned("panel", "a", NOON).await.unwrap();
    assert_eq!(test.records("replay").await.len(), 2);
    test.platform.remove_tenant(&context(), &acme()).await.unwrap();
    assert_eq!(test.records("replay").await, []);
    assert_eq!(records::replays_of(&acme()), "replay-of/acme_corp/");
}

#[tokio::test]
async fn a_hand_offs_answer_goes_with_its_tenant_too() {
    let test = TestPlatform::new().await;
    test.platform.provision(&context(), NewTenant::named(acme()), key_of).await.unwrap();
    let Ok(Idempotency::Now(attempt)) = test.platform.begin("tenant acme_corp", KEY, b"a", NOON).await else {
        panic!("it is new");
    };
    let handoff = RequestContext { idempotent_request: Some(attempt), ..context() };
    test.platform.create_handoff(&handoff, &acme(), "cGF5bG9hZA".into(), |_| ()).await.unwrap();
    assert_eq!(test.records(&records::replays_of(&acme())).await.len(), 1);
}

impl TestPlatform {
    /// A hand-off with an idempotency key of its own, whose answer is some tens of kilobytes long.
    async fn handed_off(&self, actor: Actor, number: i64) {
        let (scope, key) = (format!("{actor:?}"), number.to_string());
        let at = Timestamp(NOON.0 + number);
        let Ok(Idempotency::Now(attempt)) = self.platform.begin(&scope, &key, b"a", at).await else {
            panic!("it is new");
        };
        let context = RequestContext { idempotent_request: Some(attempt), at, ..RequestContext::of(actor, key) };
        let answer = |_: &_| "x".repeat(48 << 10);
        self.platform.create_handoff(&context, &acme(), "cGF5bG9hZA".into(), answer).await.unwrap();
    }

    async fn is_kept(&self, actor: &Actor, number: i64) -> bool {
        let (scope, at) = (format!("{actor:?}"), Timestamp(NOON.0 + number));
        let found = self.platform.begin(&scope, &number.to_string(), b"a", at).await.unwrap();
        matches!(found, Idempotency::Before(_))
    }
}

#[tokio::test]
async fn what_is_kept_for_one_key_is_bounded_and_the_oldest_of_its_own_goes_first() {
    let test = TestPlatform::new().await;
    test.platform.provision(&context(), NewTenant::named(acme()), key_of).await.unwrap();
    let key = |id: &str| Actor::ApiKey { id: KeyId(id.into()) };
    let (page, back_end) = (key("key_page"), key("key_backend"));
    for other in [&back_end, &Actor::Bitcall] {
        test.handed_off(other.clone(), 0).await;
    }
    let mut test = test;
    for number in 0..20 {
        test.handed_off(page.clone(), number).await;
        if number == 10 {
            test = test.reopened().await;
        }
    }
    let bytes: usize = test.records("replay").await.iter().map(|(_, record)| record.bytes.len()).sum();
    assert!(bytes < 3 << 18, "{bytes}: half a megabyte of the page's, and two of the others");
    let mut kept = Vec::new();
    for number in 0..20 {
        kept.push(test.is_kept(&page, number).await);
    }
    let gone = kept.iter().position(|kept| *kept).unwrap();
    assert!(gone > 10 && kept[gone..].iter().all(|kept| *kept), "{kept:?}");
    assert_eq!(test.records("replay/").await.len(), 20 - gone + 2, "no answer is left without its record");
    for other in [back_end, Actor::Bitcall] {
        assert!(test.is_kept(&other, 0).await);
    }
}

#[tokio::test]
async fn a_change_of_a_version_that_is_gone_is_refused_and_of_many_at_once_one_is_made() {
    let test = TestPlatform::new().await;
    let platform = &test.platform;
    platform.provision(&context(), NewTenant::named(acme()), key_of).await.unwrap();
    let read = platform.tenant(&acme()).unwrap().revision;
    let change = async |name: &str| {
        let named = SettingsChange { display_name: Change::Set(name.into()), ..SettingsChange::default() };
        let context = RequestContext { expected: Some(vec![read]), ..context() };
        platform.change_settings(&context, &acme(), named).await
    };
    let names: Vec<_> = (0..50).map(|n| n.to_string()).collect();
    let outcomes = join_all(names.iter().map(|name| change(name))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(_) | Err(Refusal::Outdated))));
}
