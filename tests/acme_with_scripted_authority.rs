//! Rare answers of a certificate authority, from a scripted one: the outcome is a certificate, or a reason and the time
//! of the next attempt, and never more requests than the authority's limits allow.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::rig::acme_installation::{AcmeInstallation, AcmeOptions};
use crate::rig::authority::{Authority, Fault, Resource};
use crate::rig::resolver::Resolver;
use crate::rig::wait::until;

const NAME: &str = "phone.example.test";
const ISSUER: &str = "Scripted Authority";

fn ordering_from(authorities: &[&Authority]) -> AcmeInstallation {
    ordering_with(authorities, "", "")
}

/// `acme` are lines of `[acme]`, `more` of `[domains]` and further tables.
fn ordering_with(authorities: &[&Authority], acme: &str, more: &str) -> AcmeInstallation {
    let directories: Vec<_> = authorities.iter().map(|authority| authority.directory()).collect();
    // All of them in one bundle.
    let bundle = tempfile::NamedTempFile::new().unwrap();
    let roots = authorities.iter().map(|authority| std::fs::read_to_string(authority.root()).unwrap());
    std::fs::write(bundle.path(), roots.collect::<String>()).unwrap();
    let ordering = AcmeInstallation::new(&AcmeOptions {
        public_url: "https://phone.example.test",
        directories: &directories,
        trust: std::path::Path::new("bundle.pem"),
        https_port: 0,
        redirect_port: Some(0),
        acme,
        more: &format!("[domains]\nbase = 'bitcall.test'\n{more}"),
    });
    std::fs::copy(bundle.path(), ordering.place().join("bundle.pem")).unwrap();
    ordering
}

/// Starts the server and waits for its certificate.
async fn issued(authority: &Authority) -> AcmeInstallation {
    let mut ordering = ordering_from(&[authority]);
    ordering.start();
    ordering.until_served(NAME, ISSUER).await;
    assert_eq!(authority.faults_left(), 0, "everything went wrong that was to go wrong");
    assert_eq!(authority.bought(), 1);
    assert!(authority.failed_validations() <= 4);
    ordering
}

/// Starts the server and waits for its first problem: the message, and the delay until the next attempt.
async fn refused(ordering: &mut AcmeInstallation) -> (String, Duration) {
    ordering.start();
    let (problem, next) = ordering.until_problem(NAME).await;
    (problem, from_now(&next))
}

fn from_now(moment: &str) -> Duration {
    let at = time::OffsetDateTime::parse(moment, &time::format_description::well_known::Rfc3339).unwrap();
    Duration::try_from(at - time::OffsetDateTime::now_utc()).unwrap_or_default()
}

#[tokio::test]
async fn six_bad_nonces_in_a_row_are_retried() {
    let authority = Authority::start().await;
    for _ in 0..6 {
        authority.fail(Resource::NewOrder, Fault::problem(400, "badNonce"));
    }
    let ordering = issued(&authority).await;
    assert!(ordering.problems(NAME).is_empty(), "{:?}", ordering.problems(NAME));
}

#[tokio::test]
async fn a_challenge_that_was_accepted_is_not_accepted_again_for_another_ones_bad_nonces() {
    let authority = Authority::start().await;
    authority.fail(Resource::Challenge, Fault::Pass);
    for _ in 0..4 {
        authority.fail(Resource::Challenge, Fault::problem(400, "badNonce"));
    }
    let zone = "[dns]\nlisten = '127.0.0.1:0'\naddresses = '127.0.0.1'";
    let mut ordering = ordering_with(&[&authority], "challenges = 'dns-01'", zone);
    ordering.start();
    let served = ordering.until_served("acme.bitcall.test", ISSUER).await;
    assert_eq!(served.names.len(), 2, "the base domain and its wildcard, each with a challenge");
    assert_eq!(authority.faults_left(), 0);
    assert!(ordering.problems("bitcall.test").is_empty(), "{:?}", ordering.problems("bitcall.test"));
}

#[tokio::test]
async fn a_rate_limit_with_retry_after_is_honoured_to_the_second() {
    let authority = Authority::start().await;
    let limited = Fault::Problem { status: 429, kind: "rateLimited", retry_after: Some(4), subproblems: json!([]) };
    authority.fail(Resource::NewOrder, limited);
    let ordering = issued(&authority).await;
    let moments = authority.moments(Resource::NewOrder);
    assert!(moments[1] - moments[0] >= Duration::from_secs(4), "{:?}", moments[1] - moments[0]);
    assert!(ordering.problems(NAME)[0].0.contains("limit"), "{:?}", ordering.problems(NAME));
}

#[tokio::test]
async fn a_rate_limit_without_retry_after_waits_about_an_hour() {
    let authority = Authority::start().await;
    authority.fail(Resource::NewOrder, Fault::problem(429, "rateLimited"));
    let mut ordering = ordering_from(&[&authority]);
    let (problem, next) = refused(&mut ordering).await;
    assert!(problem.contains("limit"), "{problem}");
    assert!(next > Duration::from_mins(45) && next < Duration::from_mins(75), "{next:?}");
    assert_eq!(authority.asked(Resource::NewOrder), 1);
}

#[tokio::test]
async fn an_html_error_page_is_treated_as_an_unavailable_authority() {
    let authority = Authority::start().await;
    authority.fail(Resource::NewOrder, Fault::Html { status: 503, retry_after: Some(3) });
    authority.fail(Resource::Order, Fault::Html { status: 503, retry_after: None });
    let ordering = issued(&authority).await;
    let (problem, _) = ordering.problems(NAME).into_iter().next().unwrap();
    assert!(problem.contains("503") && !problem.contains("JSON"), "{problem}");
    let moments = authority.moments(Resource::NewOrder);
    assert!(moments[1] - moments[0] >= Duration::from_secs(3), "it said when to come back");
}

#[tokio::test]
async fn a_refused_replaces_is_ordered_once_without_it() {
    let authority = Authority::start().await;
    // For the first certificate: renew at once. The first order is placed by then.
    authority.suggest(-48, -24);
    authority.refuse_replacements(1);
    let mut ordering = ordering_from(&[&authority]);
    ordering.start();
    until("the second certificate", async || match authority.bought() {
        2 => Ok(()),
        _ => Err(ordering.log()),
    })
    .await;
    assert_eq!(authority.replaced(), [None, None], "what was refused is no order");
    assert_eq!(authority.asked(Resource::NewOrder), 3);
    assert!(ordering.problems(NAME).is_empty(), "{:?}", ordering.problems(NAME));
}

#[tokio::test]
async fn a_processing_order_is_kept_and_finished_later() {
    let authority = Authority::start().await;
    authority.set_stuck(true);
    let mut ordering = ordering_from(&[&authority]);
    let (problem, next) = refused(&mut ordering).await;
    assert!(problem.contains("unusually long"), "{problem}");
    assert!(next > Duration::from_secs(5) && next < Duration::from_mins(2), "{next:?}");
    authority.set_stuck(false);
    ordering.kill();
    ordering.start();
    crate::rig::wait::within(Duration::from_secs(90), "the certificate", async || {
        let served = ordering.served(NAME).await?;
        if served.issuer.contains(ISSUER) { Ok(()) } else { Err(ordering.log()) }
    })
    .await;
    assert_eq!((authority.asked(Resource::NewOrder), authority.bought()), (1, 1));
}

#[tokio::test]
async fn an_order_that_ends_invalid_says_which_name_and_why() {
    let authority = Authority::start().await;
    authority.condemn(json!({
        "type": "urn:ietf:params:acme:error:compound", "detail": "several", "status": 403,
        "subproblems": [{
            "type": "urn:ietf:params:acme:error:caa",
            "detail": "CAA record for phone.example.test prevents issuance",
            "identifier": { "type": "dns", "value": NAME },
        }],
    }));
    let mut ordering = ordering_from(&[&authority]);
    let (problem, next) = refused(&mut ordering).await;
    assert!(problem.contains("CAA") && problem.contains(NAME), "{problem}");
    assert!(next > Duration::from_mins(45), "nothing changes by itself: {next:?}");
}

#[tokio::test]
async fn failed_challenges_rotate_methods_within_four_per_hour() {
    let authority = Authority::start().await;
    let error =
        json!({ "type": "urn:ietf:params:acme:error:connection", "detail": "Timeout during connect", "status": 400 });
    for _ in 0..6 {
        authority.disprove(error.clone());
    }
    let mut ordering = ordering_from(&[&authority]);
    let (problem, _) = refused(&mut ordering).await;
    assert!(problem.contains("Timeout during connect"), "{problem}");
    // HTTP-01 and then TLS-ALPN-01 soon after; then the limit of failed validations holds it back.
    until("the second attempt", async || {
        let next = ordering.problems(NAME).into_iter().nth(1).ok_or(ordering.log())?.1;
        assert!(from_now(&next) > Duration::from_mins(5), "{next}");
        Ok(())
    })
    .await;
    assert_eq!(authority.failed_validations(), 2);
    // Also when a person asks for a renewal.
    for _ in 0..4 {
        ordering.kill();
        ordering.start();
    }
    assert!(authority.failed_validations() <= 4);
}

#[tokio::test]
async fn valid_authorizations_are_not_answered_again() {
    let authority = Authority::start().await;
    authority.trust();
    issued(&authority).await;
    assert_eq!(authority.asked(Resource::Challenge), 0);
}

#[tokio::test]
async fn a_certificate_that_is_not_there_yet_is_fetched_later() {
    let authority = Authority::start().await;
    for _ in 0..3 {
        authority.fail(Resource::Certificate, Fault::Status(404));
    }
    let ordering = issued(&authority).await;
    assert!(ordering.problems(NAME).is_empty());
}

#[tokio::test]
async fn a_connection_lost_at_finalize_orders_no_second_certificate() {
    for fault in [Fault::ResetBefore, Fault::ResetAfter] {
        let authority = Authority::start().await;
        authority.fail(Resource::Finalize, fault);
        issued(&authority).await;
        assert_eq!(authority.asked(Resource::NewOrder), 1);
    }
}

#[tokio::test]
async fn a_name_without_an_address_costs_no_order_and_its_record_is_named() {
    let (authority, resolver) = (Authority::start().await, Resolver::start().await);
    let more = format!("[dns]\nresolvers = '{}'\naddresses = '203.0.113.7'\n", resolver.address());
    let mut ordering = ordering_with(&[&authority], "", &more);
    let (problem, next) = refused(&mut ordering).await;
    assert!(problem.contains(&format!("{NAME}. A 203.0.113.7")), "{problem}");
    assert!(next <= Duration::from_secs(90), "it is looked at again soon: {next:?}");
    assert_eq!(ordering.certificate(NAME)["problem"]["message"], problem.as_str());
    assert_eq!(authority.asked(Resource::NewOrder), 0);
    resolver.addresses(NAME, &["127.0.0.1"]);
    ordering.bitcall(&["cert", "renew", NAME]);
    ordering.until_served(NAME, ISSUER).await;
    assert_eq!(authority.failed_validations(), 0);
}

#[tokio::test]
async fn an_ari_window_in_the_past_renews_at_once_with_replaces() {
    let authority = Authority::start().await;
    authority.suggest(-48, -24);
    let started = Instant::now();
    let mut ordering = ordering_from(&[&authority]);
    ordering.start();
    until("the second certificate", async || match authority.bought() {
        2 => Ok(()),
        _ => Err(ordering.log()),
    })
    .await;
    assert!(started.elapsed() < Duration::from_secs(20));
    let replaced = authority.replaced();
    assert_eq!(replaced[0], None);
    assert!(replaced[1].as_ref().is_some_and(|id| id.contains('.')), "{replaced:?}");
    until("the second certificate to be served", async || {
        let served = ordering.served(NAME).await?;
        if served.serial.ends_with("02") { Ok(()) } else { Err(format!("{served:?}")) }
    })
    .await;
}

#[tokio::test]
async fn without_ari_short_lifetimes_are_renewed_at_two_thirds() {
    for days in [45, 6] {
        let life = Duration::from_hours(24 * days);
        let authority = Authority::start().await;
        authority.suggest_nothing();
        authority.set_life(life);
        // The first one is backdated.
        authority.age(life.mul_f64(0.7));
        let mut ordering = ordering_from(&[&authority]);
        ordering.start();
        until("the second certificate to be served", async || {
            let served = ordering.served(NAME).await?;
            if served.serial.ends_with("02") { Ok(()) } else { Err(format!("{served:?}\n{}", ordering.log())) }
        })
        .await;
        let entry = ordering.certificate(NAME);
        let moment = |field: &str| entry[field].as_str().map(from_now).unwrap();
        let (renewal, end) = (moment("renewAt").as_secs_f64(), moment("notAfter").as_secs_f64());
        assert!((0.64..0.70).contains(&(renewal / end)), "{days} days: {entry}");
        assert_eq!((entry["stage"].as_str(), authority.bought()), (Some("issued"), 2), "and no third one: {entry}");
        assert!(ordering.problems(NAME).is_empty(), "{:?}", ordering.problems(NAME));
    }
}

#[tokio::test]
async fn the_next_directory_is_used_while_one_is_down() {
    let (first, second) = (Authority::start().await, Authority::start().await);
    first.fail(Resource::Directory, Fault::Html { status: 502, retry_after: Some(3600) });
    let mut ordering = ordering_from(&[&first, &second]);
    ordering.start();
    ordering.until_served(NAME, ISSUER).await;
    assert_eq!((first.bought(), second.bought()), (0, 1));
    assert_eq!(first.asked(Resource::Directory), 1);
}

#[tokio::test]
async fn without_a_wildcard_every_assigned_subdomain_gets_a_certificate() {
    let authority = Authority::start().await;
    let mut ordering = ordering_from(&[&authority]);
    ordering.start();
    ordering.bitcall(&["tenant", "provision", "acme", "--plan", "pro"]);
    ordering.bitcall(&["subdomain", "set", "acme", "agents"]);
    let served = ordering.until_served("agents.bitcall.test", ISSUER).await;
    assert_eq!(served.names, ["agents.bitcall.test"]);
    let list: serde_json::Value = serde_json::from_str(&ordering.bitcall(&["cert", "list", "--json"])).unwrap();
    let tenants: Vec<_> = list["certificates"].as_array().unwrap().iter().map(|line| &line["tenantId"]).collect();
    assert_eq!(tenants, [&json!("acme"), &json!(null)], "the other one is the server's own");
    ordering.bitcall(&["subdomain", "remove", "acme"]);
    until("the end of its service", async || match ordering.served("agents.bitcall.test").await {
        Err(_) => Ok(()),
        Ok(served) => Err(format!("{served:?}")),
    })
    .await;
    ordering.kill();
    ordering.start();
    assert!(ordering.served("agents.bitcall.test").await.is_err(), "nothing of it is left");
    assert_eq!(authority.bought(), 2, "the server's own, and this one");
}

#[tokio::test]
async fn a_profile_is_asked_for_where_the_authority_has_it_and_else_left_out() {
    for (wish, asked) in [("classic", Some("classic".to_owned())), ("shortlived", None)] {
        let authority = Authority::start().await;
        let mut ordering = ordering_with(&[&authority], &format!("profile = '{wish}'"), "");
        ordering.start();
        ordering.until_served(NAME, ISSUER).await;
        assert_eq!(authority.profiles(), [asked]);
    }
}

#[tokio::test]
async fn orphaned_certificates_are_removed_at_the_next_start() {
    let authority = Authority::start().await;
    let mut ordering = issued(&authority).await;
    ordering.kill();
    let file = ordering.file();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("phone.example.test", "other.example.test")).unwrap();
    ordering.start();
    ordering.until_served("other.example.test", ISSUER).await;
    until("the end of the old one", async || match ordering.served(NAME).await {
        Err(_) => Ok(()),
        Ok(served) => Err(format!("{served:?}")),
    })
    .await;
    ordering.kill();
    ordering.start();
    assert!(ordering.served(NAME).await.is_err(), "nor is it in the store");
}
