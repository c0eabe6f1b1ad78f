//! Digest authentication: examples of the RFCs, and our client against our server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bitcall_sip::digest::{
    Algorithm, AuthorizationInput, Challenge, Credentials, DigestSecret, Qop, challenges, choose, ha1,
};
use proptest::prelude::*;

/// Algorithm, qop, and the expected response for the input [`MUFASA`].
const EXPECTED: &[(Algorithm, Qop, &str)] = &[
    (Algorithm::Md5, Qop::None, "7b2cc3b30e75b4777ea31027084363fd"),
    (Algorithm::Md5, Qop::Auth, "8ca523f5e9506fed4657c9700eebdbec"),
    (Algorithm::Md5, Qop::AuthInt, "d1b8e2ac3f6782372de4bf3d8735b406"),
    (Algorithm::Md5Sess, Qop::None, "37a7f42db2090a3fcac4e26e747d4fc8"),
    (Algorithm::Md5Sess, Qop::Auth, "e783283f46242139c486a698fec7211d"),
    (Algorithm::Md5Sess, Qop::AuthInt, "4321e8772738f242cc32334079264d8c"),
    (Algorithm::Sha256, Qop::None, "a1306b0595a6c7fe96c448631fb5cfbd5107bd1fe1da729d978dd7446b812363"),
    (Algorithm::Sha256, Qop::Auth, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    (Algorithm::Sha256, Qop::AuthInt, "385d2de062660ced11876f42d9497c69cacf5caaf3d951dd424aee9f7157d563"),
    (Algorithm::Sha256Sess, Qop::None, "30bc0742357e535c85094121d22cf826b794be0667e19537beb7b28f2251c274"),
    (Algorithm::Sha256Sess, Qop::Auth, "2fd51b3a77ad75bad6afad6003e818d767133c46d9e2749e7f5232ae1ea3efd7"),
    (Algorithm::Sha256Sess, Qop::AuthInt, "cade7e5b751d9c3c2f066a95f2405c5509ad0171cf93f117e98b7f0ebb212e57"),
    (Algorithm::Sha512_256, Qop::None, "93e9122020ea0624d2ca801426d5bfbeb93d10ff4cc24cb410af3920fa4730e7"),
    (Algorithm::Sha512_256, Qop::Auth, "430d05014cecc49cab6fbe03176d41a1da86cbfe24a16580e22aaad928d960d0"),
    (Algorithm::Sha512_256, Qop::AuthInt, "5e69357dfa951887c95e88aae45b1f7f834aeba94f85648b86d532e82afdb589"),
    (Algorithm::Sha512_256Sess, Qop::None, "7c70dbd9f483cbccedbd3e92ac246a9f2b712bed77914b52c3ae2254fdb2edba"),
    (Algorithm::Sha512_256Sess, Qop::Auth, "3f2a34f923c38b0fb26dce2fdfc2ce326c23cecf86fbb1444f3e51fbbc2cb92e"),
    (Algorithm::Sha512_256Sess, Qop::AuthInt, "1ba4333021256e8b4eebe5c8d20ba53b167f1dac1f6d8c916a08c17ef99eae9a"),
];

fn challenge(algorithm: Algorithm, qop: &[Qop]) -> Challenge {
    Challenge {
        realm: "http-auth@example.org".into(),
        nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v".into(),
        opaque: Some("FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS".into()),
        algorithm,
        qop: qop.to_vec(),
        stale: false,
    }
}

const MUFASA: AuthorizationInput<'static> = AuthorizationInput {
    username: "Mufasa",
    secret: DigestSecret::Password("Circle of Life"),
    method: "GET",
    uri: "/dir/index.html",
    body: b"v=0\r\n",
    cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    count: 1,
};

fn response(challenge: &Challenge, input: &AuthorizationInput<'_>) -> String {
    let value = challenge.answer(input).unwrap();
    Credentials::parse(&value).unwrap().response.into_owned()
}

#[test]
fn the_examples_of_rfc_7616_are_reproduced() {
    let expect = |algorithm, expected| {
        assert_eq!(response(&challenge(algorithm, &[Qop::AuthInt, Qop::Auth]), &MUFASA), expected);
    };
    expect(Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec");
    expect(Algorithm::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1");
}

#[test]
fn the_example_of_rfc_2617_is_reproduced() {
    let challenge = Challenge {
        realm: "testrealm@host.com".into(),
        nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093".into(),
        ..challenge(Algorithm::Md5, &[Qop::Auth])
    };
    let input = AuthorizationInput { secret: DigestSecret::Password("Circle Of Life"), cnonce: "0a4f113b", ..MUFASA };
    assert_eq!(response(&challenge, &input), "6629fae49393a05397450978507c4ef1");
}

#[test]
fn sess_algorithms_auth_int_and_rfc_2069_give_the_expected_responses() {
    // Expected values computed independently with Python's hashlib from RFC 7616 §3.4.
    for (algorithm, qop, expected) in EXPECTED {
        let qop: &[Qop] = if *qop == Qop::None { &[] } else { &[*qop] };
        assert_eq!(response(&challenge(*algorithm, qop), &MUFASA), *expected, "{algorithm:?} {qop:?}");
    }
}

#[test]
fn an_empty_qop_counts_as_none() {
    for value in [r#"Digest realm="a", nonce="n", qop="""#, r#"Digest realm="a", qop=" ,", nonce="n""#] {
        let read: Vec<_> = challenges(value).collect();
        assert_eq!(read.len(), 1, "{value}");
        assert_eq!(read[0].qop, []);
        assert!(!read[0].answer(&MUFASA).unwrap().contains("qop"));
    }
}

#[test]
fn an_ha1_replaces_the_password_only_for_its_own_algorithm() {
    for algorithm in [Algorithm::Md5, Algorithm::Md5Sess, Algorithm::Sha256, Algorithm::Sha256Sess] {
        let challenge = challenge(algorithm, &[Qop::Auth]);
        let stored = ha1(algorithm, "Mufasa", &challenge.realm, "Circle of Life").to_uppercase();
        let input = AuthorizationInput { secret: DigestSecret::from_ha1(&stored).unwrap(), ..MUFASA };
        assert_eq!(challenge.answer(&input), challenge.answer(&MUFASA));
        let other = "0".repeat(if algorithm.without_session() == Algorithm::Md5 { 64 } else { 32 });
        let input = AuthorizationInput { secret: DigestSecret::from_ha1(&other).unwrap(), ..MUFASA };
        assert_eq!(challenge.answer(&input), None);
    }
    assert!(DigestSecret::from_ha1("abc").is_none());
    assert!(DigestSecret::from_ha1(&"g".repeat(32)).is_none());
    assert_eq!(format!("{MUFASA:?}").matches("Circle").count(), 0);
}

#[test]
fn several_challenges_in_one_value_are_parsed() {
    let value = r#"Basic realm="a, Digest realm=\"x\"", Digest realm="one \"1\"", nonce=n1 ,
        qop="auth,auth-int,token" , stale=TRUE,opaque="",  DIGEST  nonce="n2", Realm="two",
        algorithm="sha-256-SESS", Negotiate abc=, Digest nonce="n3", Digest realm="r",nonce="n",algorithm=SHA-512,
        digest realm="r", nonce="n4", qop="later", Digest realm="Zürich", nonce="", algorithm=MD5"#
        .replace(['\n', '\r'], " ");
    let parsed: Vec<_> = challenges(&value).collect();
    let names: Vec<_> = parsed.iter().map(|parsed| parsed.realm.as_str()).collect();
    assert_eq!(names, ["one \"1\"", "two", "Zürich"]);
    assert_eq!(parsed[0].qop, [Qop::Auth, Qop::AuthInt]);
    assert!(parsed[0].stale && !parsed[1].stale);
    assert_eq!((parsed[0].nonce.as_str(), parsed[0].opaque.as_deref()), ("n1", Some("")));
    assert_eq!(parsed[1].algorithm, Algorithm::Sha256Sess);
    assert_eq!(parsed[1].qop, []);
}

#[test]
fn the_strongest_supported_challenge_of_each_realm_is_chosen() {
    let offered = [
        r#"Digest realm="a", nonce="a-md5", algorithm=MD5"#,
        r#"Digest realm="b", nonce="b-md5""#,
        r#"Digest realm="a", nonce="a-512", algorithm=SHA-512-256"#,
        r#"Digest realm="a", nonce="a-256", algorithm=SHA-256"#,
        r#"Digest realm="a", nonce="a-256s", algorithm=SHA-256-sess"#,
    ];
    let nonces = |secret| -> Vec<String> {
        choose(offered.into_iter(), secret).into_iter().map(|chosen| chosen.nonce).collect()
    };
    assert_eq!(nonces(DigestSecret::Password("x")), ["a-512", "b-md5"]);
    let md5 = "0".repeat(32);
    assert_eq!(nonces(DigestSecret::from_ha1(&md5).unwrap()), ["a-md5", "b-md5"]);
    let sha256 = "0".repeat(64);
    assert_eq!(nonces(DigestSecret::from_ha1(&sha256).unwrap()), ["a-256"]);
}

#[test]
fn credentials_without_a_required_parameter_are_rejected() {
    let whole = challenge(Algorithm::Md5, &[Qop::Auth]).answer(&MUFASA).unwrap();
    assert!(Credentials::parse(&whole).is_some());
    for name in ["username", "realm", "nonce", "uri", "response", "cnonce", "nc"] {
        let without = whole.replace(&format!("{name}="), "x=");
        assert_eq!(Credentials::parse(&without), None, "{name}");
    }
    assert_eq!(Credentials::parse(&whole.replace("=MD5", "=MD6")), None);
    assert_eq!(Credentials::parse(&whole.replace("qop=auth", "qop=auto")), None);
    assert_eq!(Credentials::parse("Basic QWxhZGRpbg=="), None);
    assert_eq!(Credentials::parse(""), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// For any names, the server accepts exactly the client's answer.
    #[test]
    fn the_server_accepts_exactly_the_clients_answer(
        username in "\\PC{0,12}", realm in "\\PC{0,12}", password in "\\PC{0,12}", nonce in "[!-~]{1,20}",
        uri in "sip:[a-z%;=\"\\\\]{1,12}", count in 1..u32::MAX, algorithm in 0..4usize, qop in 0..3usize,
    ) {
        let algorithm = [Algorithm::Md5, Algorithm::Md5Sess, Algorithm::Sha256, Algorithm::Sha256Sess][algorithm];
        let qop: &[Qop] = [&[][..], &[Qop::Auth], &[Qop::AuthInt]][qop];
        let written = Challenge { realm, nonce, ..challenge(algorithm, qop) };
        let value = written.to_value();
        let read: Vec<_> = challenges(&value).collect();
        prop_assert_eq!(&read, std::slice::from_ref(&written));
        let input = AuthorizationInput {
            username: &username, secret: DigestSecret::Password(&password), method: "INVITE", uri: &uri,
            body: b"body", cnonce: "c", count,
        };
        let answer = read[0].answer(&input).unwrap();
        let credentials = Credentials::parse(&answer).unwrap();
        prop_assert_eq!(&*credentials.username, username.as_str());
        prop_assert_eq!(&*credentials.uri, uri.as_str());
        prop_assert_eq!(credentials.count(), (!qop.is_empty()).then_some(count));
        let stored = ha1(algorithm, &username, &written.realm, &password);
        let stored = DigestSecret::from_ha1(&stored).unwrap();
        prop_assert!(credentials.verify(stored, "INVITE", b"body"));
        prop_assert!(!credentials.verify(stored, "BYE", b"body"));
        prop_assert_eq!(credentials.verify(stored, "INVITE", b"other"), qop != [Qop::AuthInt]);
        let wrong = format!("{password}x");
        prop_assert!(!credentials.verify(DigestSecret::Password(&wrong), "INVITE", b"body"));
        let whole = credentials.response.clone().into_owned();
        for cut in [&whole[1..], &whole[..whole.len() - 1], ""] {
            let cut = Credentials { response: cut.into(), ..credentials.clone() };
            prop_assert!(!cut.verify(stored, "INVITE", b"body"));
        }
    }

    #[test]
    fn no_header_value_panics(value in "\\PC{0,200}") {
        let _ = challenges(&value).count();
        let _ = Credentials::parse(&value);
        let spiced = format!("Digest realm=\"r\", nonce={value}, qop=\"{value}");
        let _ = challenges(&spiced).count();
        let _ = Credentials::parse(&spiced);
    }
}
