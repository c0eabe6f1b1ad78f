//! One-time tokens over time, over changes of their tenant, and on the disk.

use std::time::Duration;

use super::super::platform::TokenContent;
use super::super::token::{SipCredentials, Token};
use super::removal::{holds, whole_store};
use super::*;
use crate::tenancy::platform::{IssuedToken, OperatorChange};
use crate::timestamp::Timestamp;

/// The server's own.
const HOST: &str = "phone.example";

fn at(moment: i64) -> RequestContext {
    RequestContext { at: Timestamp(moment), ..context() }
}

fn credentials() -> SipCredentials {
    SipCredentials {
        username: "101".into(),
        domain: Some("pbx.acme.com".into()),
        password: Some("correct horse battery".into()),
        ha1_password: None,
    }
}

struct TestLink {
    token: Token,
    expires_at: Timestamp,
}

async fn link(platform: &Platform, context: RequestContext, life: Duration) -> Result<TestLink, Refusal> {
    let shown = |issued: &IssuedToken| (issued.token.as_str().to_owned(), issued.expires_at);
    let (token, expires_at) = platform.create_link(&context, &acme(), &credentials(), life, shown).await?;
    Ok(TestLink { token: Token::from_text(token), expires_at })
}

async fn with_links() -> TestPlatform {
    let test = TestPlatform::new().await;
    test.platform.provision(&context(), NewTenant::named(acme()), key_of).await.unwrap();
    let change = SettingsChange { auth_link: Change::Set(true), ..SettingsChange::default() };
    let change = OperatorChange { settings: change, ..OperatorChange::default() };
    test.platform.change_as_operator(&context(), &acme(), change).await.unwrap();
    test
}

#[tokio::test]
async fn a_link_signs_in_until_its_time_is_over_and_then_its_record_is_swept_away() {
    let test = with_links().await;
    let life = Duration::from_mins(1);
    let one = link(&test.platform, at(1_000), life).await.unwrap();
    let two = link(&test.platform, at(1_000), life).await.unwrap();
    assert_eq!(one.expires_at, Timestamp(61_000));
    let redeemed = test.platform.redeem(&at(60_999), &one.token, HOST).await.unwrap();
    assert_eq!(redeemed.carried, TokenContent::Credentials(credentials()));
    assert!(matches!(test.platform.redeem(&at(61_000), &two.token, HOST).await, Err(Refusal::TokenInvalid)));

    test.platform.remove_expired_tokens(Timestamp(61_000)).await.unwrap();
    assert!(!holds(&whole_store(test).await, "token/"));
}

#[tokio::test]
async fn the_store_holds_neither_credentials_nor_tokens() {
    let test = with_links().await;
    let life = Duration::from_mins(1);
    let kept = link(&test.platform, context(), life).await.unwrap();
    let used = link(&test.platform, context(), life).await.unwrap();
    test.platform.redeem(&context(), &used.token, HOST).await.unwrap();
    let test = test.reopened().await;
    test.platform.remove_expired_tokens(context().at).await.unwrap();
    assert!(test.platform.redeem(&context(), &kept.token, HOST).await.is_ok(), "links survive a restart and a sweep");

    let waits = link(&test.platform, context(), life).await.unwrap();
    let all = whole_store(test).await;
    assert!(holds(&all, "token/acme_corp/") && holds(&all, "link.redeem"), "the search finds what is there");
    for token in [kept.token, used.token, waits.token] {
        assert!(!holds(&all, &token.as_str()[3..]));
    }
    assert!(!holds(&all, "correct horse battery"));
}

#[tokio::test]
async fn without_the_feature_there_are_no_links() {
    let test = TestPlatform::new().await;
    test.platform.provision(&context(), NewTenant::named(acme()), key_of).await.unwrap();
    let made = link(&test.platform, context(), Duration::from_mins(1)).await;
    assert!(matches!(made, Err(Refusal::FeatureDisabled("authLink"))));
}

#[tokio::test]
async fn a_disabled_tenants_tokens_open_nothing_and_a_removed_ones_are_gone() {
    let test = with_links().await;
    let platform = &test.platform;
    let made = link(platform, context(), Duration::from_mins(1)).await.unwrap();
    platform.enable(&context(), &acme(), false).await.unwrap();
    assert!(matches!(platform.redeem(&context(), &made.token, HOST).await, Err(Refusal::TenantDisabled)));
    platform.remove_tenant(&context(), &acme()).await.unwrap();
    assert!(matches!(platform.redeem(&context(), &made.token, HOST).await, Err(Refusal::TokenInvalid)));
    platform.provision(&context(), NewTenant::named(acme()), key_of).await.unwrap();
    assert!(
        matches!(platform.redeem(&context(), &made.token, HOST).await, Err(Refusal::TokenInvalid)),
        "not of another one"
    );
    let never = Token::from_text("bt_never".into());
    assert!(matches!(platform.redeem(&context(), &never, HOST).await, Err(Refusal::TokenInvalid)));
    assert!(!holds(&whole_store(test).await, "token/"));
}
