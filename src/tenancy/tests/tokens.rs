//! One-time tokens over time, over changes of their tenant, and on the disk.

use std::time::Duration;

use super::super::platform::Carried;
use super::super::token::{SipCredentials, Token};
use super::removal::{holds, whole_store};
use super::*;
use crate::tenancy::platform::{Issued, OperatorChange};
use crate::timestamp::Timestamp;

/// The server's own.
const HOST: &str = "phone.example";

fn at(moment: i64) -> Act {
    Act { at: Timestamp(moment), ..act() }
}

fn credentials() -> SipCredentials {
    SipCredentials {
        username: "101".into(),
        domain: Some("pbx.acme.com".into()),
        password: Some("correct horse battery".into()),
        ha1_password: None,
    }
}

struct Made {
    token: Token,
    expires_at: Timestamp,
}

async fn link(platform: &Platform, act: Act, life: Duration) -> Result<Made, Refusal> {
    let shown = |issued: &Issued| (issued.token.as_str().to_owned(), issued.expires_at);
    let (token, expires_at) = platform.create_link(&act, &acme(), &credentials(), life, shown).await?;
    Ok(Made { token: Token::given(token), expires_at })
}

async fn with_links() -> House {
    let house = House::new().await;
    house.platform.provision(&act(), NewTenant::named(acme()), key_of).await.unwrap();
    let change = SettingsChange { auth_link: Change::Set(true), ..SettingsChange::default() };
    let change = OperatorChange { settings: change, ..OperatorChange::default() };
    house.platform.change_as_operator(&act(), &acme(), change).await.unwrap();
    house
}

#[tokio::test]
async fn a_link_signs_in_until_its_time_is_over_and_then_its_record_is_swept_away() {
    let house = with_links().await;
    let life = Duration::from_mins(1);
    let one = link(&house.platform, at(1_000), life).await.unwrap();
    let two = link(&house.platform, at(1_000), life).await.unwrap();
    assert_eq!(one.expires_at, Timestamp(61_000));
    let redeemed = house.platform.redeem(&at(60_999), &one.token, HOST).await.unwrap();
    assert_eq!(redeemed.carried, Carried::Credentials(credentials()));
    assert!(matches!(house.platform.redeem(&at(61_000), &two.token, HOST).await, Err(Refusal::TokenInvalid)));

    house.platform.remove_expired_tokens(Timestamp(61_000)).await.unwrap();
    assert!(!holds(&whole_store(house).await, "token/"));
}

#[tokio::test]
async fn the_store_holds_neither_credentials_nor_tokens() {
    let house = with_links().await;
    let life = Duration::from_mins(1);
    let kept = link(&house.platform, act(), life).await.unwrap();
    let used = link(&house.platform, act(), life).await.unwrap();
    house.platform.redeem(&act(), &used.token, HOST).await.unwrap();
    let house = house.reopened().await;
    house.platform.remove_expired_tokens(act().at).await.unwrap();
    assert!(house.platform.redeem(&act(), &kept.token, HOST).await.is_ok(), "links survive a restart and a sweep");

    let waits = link(&house.platform, act(), life).await.unwrap();
    let all = whole_store(house).await;
    assert!(holds(&all, "token/acme_corp/") && holds(&all, "link.redeem"), "the search finds what is there");
    for token in [kept.token, used.token, waits.token] {
        assert!(!holds(&all, &token.as_str()[3..]));
    }
    assert!(!holds(&all, "correct horse battery"));
}

#[tokio::test]
async fn without_the_feature_there_are_no_links() {
    let house = House::new().await;
    house.platform.provision(&act(), NewTenant::named(acme()), key_of).await.unwrap();
    let made = link(&house.platform, act(), Duration::from_mins(1)).await;
    assert!(matches!(made, Err(Refusal::FeatureDisabled("authLink"))));
}

#[tokio::test]
async fn a_disabled_tenants_tokens_open_nothing_and_a_removed_ones_are_gone() {
    let house = with_links().await;
    let platform = &house.platform;
    let made = link(platform, act(), Duration::from_mins(1)).await.unwrap();
    platform.enable(&act(), &acme(), false).await.unwrap();
    assert!(matches!(platform.redeem(&act(), &made.token, HOST).await, Err(Refusal::TenantDisabled)));
    platform.remove_tenant(&act(), &acme()).await.unwrap();
    assert!(matches!(platform.redeem(&act(), &made.token, HOST).await, Err(Refusal::TokenInvalid)));
    platform.provision(&act(), NewTenant::named(acme()), key_of).await.unwrap();
    assert!(
        matches!(platform.redeem(&act(), &made.token, HOST).await, Err(Refusal::TokenInvalid)),
        "not of another one"
    );
    let never = Token::given("bt_never".into());
    assert!(matches!(platform.redeem(&act(), &never, HOST).await, Err(Refusal::TokenInvalid)));
    assert!(!holds(&whole_store(house).await, "token/"));
}
