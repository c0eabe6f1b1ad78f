//! Plans, the platform's transport, and searches among many tenants.

use super::{TestPlatform, acme, context, key_of};
use crate::tenancy::key::KeyPurpose;
use crate::tenancy::plan::{CatalogueStatus, Interval, NewPlan, Price};
use crate::tenancy::platform::{NewTenant, PlanChange, Platform, Search};
use crate::tenancy::refusal::Refusal;
use crate::tenancy::settings::Change;
use crate::tenancy::tenant::PlanStatus;
use crate::tenancy::transport::TransportChange;

fn gold(platform: &Platform) -> NewPlan {
    let pro = platform.plans().into_iter().find(|plan| plan.id == "pro").unwrap();
    NewPlan {
        id: "gold".into(),
        name: "Gold".into(),
        status: CatalogueStatus::Active,
        price: Price::whole(49),
        currency: "EUR".into(),
        interval: Interval::Year,
        entitlements: pro.entitlements.clone(),
        is_default: None,
    }
}

fn defaults_of(platform: &Platform) -> Vec<String> {
    let plans = platform.plans();
    plans.iter().filter(|plan| plan.is_default).map(|plan| plan.id.clone()).collect()
}

#[tokio::test]
async fn there_is_always_exactly_one_default_plan() {
    let test = TestPlatform::new().await;
    let platform = &test.platform;
    let gold = gold(platform);
    platform.set_plan(&context(), gold.clone()).await.unwrap();
    assert_eq!(defaults_of(platform), ["free"]);
    let default = NewPlan { is_default: Some(true), ..gold.clone() };
    platform.set_plan(&context(), default.clone()).await.unwrap();
    assert_eq!(defaults_of(platform), ["gold"]);
    let not_any_more = NewPlan { is_default: Some(false), ..gold.clone() };
    let retired = NewPlan { status: CatalogueStatus::Retired, ..gold.clone() };
    for impossible in [not_any_more, retired] {
        assert!(matches!(platform.set_plan(&context(), impossible).await, Err(Refusal::DefaultPlan(_))));
    }
    assert!(matches!(platform.remove_plan(&context(), "gold").await, Err(Refusal::DefaultPlan(_))));
    let renamed = NewPlan { name: "Golden".into(), ..gold };
    platform.set_plan(&context(), renamed).await.unwrap();
    assert_eq!(defaults_of(platform), ["gold"], "a change that does not mention it leaves it");
    let test = test.reopened().await;
    assert_eq!(defaults_of(&test.platform), ["gold"]);
}

#[tokio::test]
async fn of_many_that_become_the_default_at_once_one_is() {
    let test = TestPlatform::new().await;
    let platform = &test.platform;
    let gold = gold(platform);
    let context = &context();
    let all = (0..10).map(|n| {
        let plan = NewPlan { id: format!("gold{n}"), is_default: Some(true), ..gold.clone() };
        platform.set_plan(context, plan)
    });
    assert!(futures_util::future::join_all(all).await.iter().all(Result::is_ok));
    assert_eq!(defaults_of(platform).len(), 1);
    let test = test.reopened().await;
    assert_eq!(defaults_of(&test.platform).len(), 1, "in the store too");
}

#[tokio::test]
async fn a_plan_that_tenants_have_is_kept_and_its_changes_reach_them_at_once() {
    let test = TestPlatform::new().await;
    let platform = &test.platform;
    let gold = gold(platform);
    platform.set_plan(&context(), gold.clone()).await.unwrap();
    let new = NewTenant { plan_id: Some("gold".into()), ..NewTenant::named(acme()) };
    let made = platform.provision(&context(), new.clone(), key_of).await.unwrap();
    assert!(matches!(platform.remove_plan(&context(), "gold").await, Err(Refusal::PlanInUse { tenants: 1, .. })));

    let before = platform.runtime_body(&platform.admit(Some(made.as_str()), None, KeyPurpose::Pages).unwrap(), None);
    let mut more = gold.clone();
    more.entitlements.max_sessions = 9;
    platform.set_plan(&context(), more.clone()).await.unwrap();
    let after = platform.runtime_body(&platform.admit(Some(made.as_str()), None, KeyPurpose::Pages).unwrap(), None);
    assert_ne!(before, after, "the phone's configuration is another one");

    platform.set_plan(&context(), NewPlan { status: CatalogueStatus::Retired, ..more }).await.unwrap();
    let other = NewTenant { tenant_id: "other".parse().unwrap(), ..new };
    assert!(matches!(platform.provision(&context(), other, key_of).await, Err(Refusal::PlanRetired(_))));
    let billing = |plan: &str, status| PlanChange { plan_id: Some(plan.into()), status };
    let status = Some(PlanStatus::PastDue);
    platform.change_plan(&context(), &acme(), billing("gold", status)).await.expect("who has it keeps it");
    platform.change_plan(&context(), &acme(), billing("pro", None)).await.unwrap();
    let state = platform.tenant(&acme()).unwrap();
    assert_eq!(state.tenant.plan_status, PlanStatus::PastDue, "what is not said stays");
    assert!(matches!(
        platform.change_plan(&context(), &acme(), billing("gold", None)).await,
        Err(Refusal::PlanRetired(_))
    ));
    platform.remove_plan(&context(), "gold").await.unwrap();
    assert!(matches!(platform.remove_plan(&context(), "gold").await, Err(Refusal::PlanNotFound(_))));
}

#[tokio::test]
async fn the_platforms_transport_reaches_tenants_that_are_awake_and_survives_a_restart() {
    let test = TestPlatform::new().await;
    let platform = &test.platform;
    let key = platform.provision(&context(), NewTenant::named(acme()), key_of).await.unwrap();
    let domain = |platform: &Platform| {
        let found = platform.key(key.as_str()).unwrap();
        platform.values_of(&found.state).effective.transport.sip.domain.clone().unwrap()
    };
    assert_eq!(domain(platform), "acme-corp.sip.example");
    assert!(platform.serves("acme-corp.sip.example"));
    let mut changes = platform.changes();
    let change = TransportChange { sip_domain: Change::Set("pbx.platform".into()), ..TransportChange::default() };
    platform.change_transport_defaults(&context(), change).await.unwrap();
    assert!(changes.has_changed().unwrap(), "the edge looks again");
    changes.mark_unchanged();
    assert_eq!(domain(platform), "pbx.platform");
    assert!(!platform.serves("acme-corp.sip.example"), "its phones are elsewhere now");
    let test = test.reopened().await;
    assert_eq!(domain(&test.platform), "pbx.platform");
    let back = TransportChange { sip_domain: Change::Reset, ..TransportChange::default() };
    test.platform.change_transport_defaults(&context(), back).await.unwrap();
    assert_eq!(domain(&test.platform), "acme-corp.sip.example");
}

#[tokio::test]
async fn pages_hold_every_tenant_that_fits_once_and_say_how_many_there_are() {
    let test = TestPlatform::new().await;
    let platform = &test.platform;
    for n in 0..25 {
        let mut new = NewTenant::named(format!("t{n:02}").parse().unwrap());
        new.display_name = Some(format!("{} & Söhne", if n % 2 == 0 { "Even" } else { "Odd" }));
        platform.provision(&context(), new, key_of).await.unwrap();
    }
    let search = Search { text: "even & söhne".into(), ..Search::default() };
    let (mut ids, mut after): (Vec<String>, Option<String>) = (Vec::new(), None);
    loop {
        let found = platform.search(&search, after.as_deref(), 4).await;
        assert_eq!(found.total, 13);
        assert!(found.tenants.len() <= 4);
        ids.extend(found.tenants.iter().map(|state| state.tenant.id.to_string()));
        after = ids.last().cloned();
        if !found.more {
            break;
        }
    }
    let expected: Vec<_> = (0..25).filter(|n| n % 2 == 0).map(|n| format!("t{n:02}")).collect();
    assert_eq!(ids, expected);
    let nobody = Search { enabled: Some(false), ..Search::default() };
    assert_eq!(platform.search(&nobody, None, 4).await.total, 0);
    let on_plan = Search { plan_id: Some("free".into()), text: "t1".into(), ..Search::default() };
    assert_eq!(platform.search(&on_plan, None, 100).await.tenants.len(), 10);
}
