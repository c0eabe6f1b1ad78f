//! Complete handshakes in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::similar_names)] // `self` and others

use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use super::*;

/// An authority of the tests' own.
struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    certificate: rcgen::Certificate,
}

struct Made {
    names: Vec<String>,
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

impl Authority {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: rcgen::Issuer::new(params, key), certificate }
    }

    fn issue(&self, names: &[&str]) -> Made {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(names.clone()).unwrap().signed_by(&key, &self.issuer).unwrap();
        let chain = vec![leaf.der().clone(), self.certificate.der().clone()];
        Made { names, chain, key: key.serialize_der() }
    }

    /// The certificate that a client gets who trusts this authority; else the error.
    fn handshake(
        &self,
        cert_resolver: &Arc<CertResolver>,
        name: Option<&str>,
        offers: &[&[u8]],
    ) -> Result<Vec<u8>, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(cert_resolver.clone());
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), ACME_TLS.to_vec()];
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = offers.iter().map(|offer| offer.to_vec()).collect();
        client.enable_sni = name.is_some();
        let name = name.unwrap_or("own.example").to_owned();
        let mut client = ClientConnection::new(Arc::new(client), name.try_into().unwrap()).unwrap();
        let mut server = ServerConnection::new(Arc::new(server)).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets()?;
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok(client.peer_certificates().unwrap()[0].to_vec())
    }
}

impl Made {
    /// Its key sealed with `place` bound in, and stored as sealed for `about`.
    fn sealed_key(&self, place: &str, about: &str) -> Key {
        let sealed = seal().seal(place, self.key.clone()).unwrap().bytes().unwrap();
        Key { about: about.into(), sealed: sealed.into() }
    }

    fn put_on(&self, cert_resolver: &CertResolver) {
        cert_resolver.put(&self.names, self.chain.clone(), self.sealed_key("here", "here"));
    }

    fn leaf(&self) -> Vec<u8> {
        self.chain[0].to_vec()
    }
}

fn seal() -> Seal {
    Seal::new(["the store key of the tests"]).unwrap()
}

#[test]
fn an_exact_name_comes_before_a_wildcard_and_unknown_names_are_refused() {
    let authority = Authority::new();
    let cert_resolver = CertResolver::new(Some(seal()), "own.example", true);
    let (base, exact) = (authority.issue(&["own.example", "*.own.example"]), authority.issue(&["a.own.example"]));
    base.put_on(&cert_resolver);
    exact.put_on(&cert_resolver);
    let served = |name| authority.handshake(&cert_resolver, name, &[]).unwrap();
    assert!(served(Some("a.own.example")) == exact.leaf());
    assert!(served(Some("A.Own.Example")) == exact.leaf(), "in any spelling");
    assert!(served(Some("b.own.example")) == base.leaf());
    assert!(served(Some("own.example")) == base.leaf());
    assert!(served(None) == base.leaf(), "without SNI");
    for name in ["a.b.own.example", "example", "other.example", "xown.example"] {
        assert!(authority.handshake(&cert_resolver, Some(name), &[]).is_err(), "{name}");
    }
}

#[test]
fn a_successor_and_a_removal_apply_to_all_names_of_a_certificate() {
    let authority = Authority::new();
    let cert_resolver = CertResolver::new(Some(seal()), "own.example", true);
    authority.issue(&["a.example", "*.a.example", "b.example"]).put_on(&cert_resolver);
    let mut swaps = cert_resolver.swaps();
    let next = authority.issue(&["a.example", "*.a.example"]);
    next.put_on(&cert_resolver);
    assert!(authority.handshake(&cert_resolver, Some("x.a.example"), &[]).unwrap() == next.leaf());
    assert!(authority.handshake(&cert_resolver, Some("b.example"), &[]).is_err(), "the successor is not for it");
    assert_eq!([swaps.try_recv().unwrap(), swaps.try_recv().unwrap()], ["a.example", "*.a.example"]);
    assert!(*cert_resolver.certificate_for("*.a.example").unwrap() == *next.leaf());
    cert_resolver.remove("*.a.example");
    assert_eq!(cert_resolver.count(), 0);
    assert!(authority.handshake(&cert_resolver, Some("a.example"), &[]).is_err());
}

#[test]
fn unknown_names_get_the_files_certificate_only_without_acme() {
    let authority = Authority::new();
    let own = authority.issue(&["own.example", "*.files.example"]);
    let own = || CertifiedKey::new(own.chain.clone(), signing_key(&own.key).unwrap());
    let leaf = own().cert[0].to_vec();
    let other = authority.issue(&["own.example"]);
    for (refuses, development) in [(false, false), (true, false), (false, true), (true, true)] {
        let cert_resolver = CertResolver::new(Some(seal()), "own.example", refuses);
        cert_resolver.put_own(own(), development);
        // A verifying client rejects the certificate for its name, which tells that one was served.
        let stranger = authority.handshake(&cert_resolver, Some("stranger.example"), &[]);
        let was_served = matches!(stranger, Err(rustls::Error::InvalidCertificate(_)));
        assert_eq!(was_served, !refuses, "{stranger:?}");
        assert!(authority.handshake(&cert_resolver, Some("x.files.example"), &[]).unwrap() == leaf);
        assert!(authority.handshake(&cert_resolver, None, &[]).unwrap() == leaf);
        other.put_on(&cert_resolver);
        let served = authority.handshake(&cert_resolver, Some("own.example"), &[]).unwrap();
        assert!((served == other.leaf()) == development, "an administrator's files come first, our own makeshift last");
        assert!(
            *cert_resolver.certificate_for("own.example").unwrap() == *other.leaf(),
            "this is what the check expects"
        );
        assert_eq!(cert_resolver.comes_from_files(&served), !development);
        let changed = cert_resolver.swaps().try_recv().ok();
        assert_eq!(changed.as_deref(), (!development).then_some("own.example"), "which is why it is checked");
    }
}

#[test]
fn only_a_validation_handshake_gets_the_challenge_certificate() {
    let authority = Authority::new();
    let cert_resolver = CertResolver::new(Some(seal()), "own.example", true);
    let (real, challenge) = (authority.issue(&["a.example"]), authority.issue(&["a.example"]));
    real.put_on(&cert_resolver);
    let only: &[&[u8]] = &[ACME_TLS];
    assert!(authority.handshake(&cert_resolver, Some("a.example"), only).is_err(), "there is no challenge");
    cert_resolver
        .challenge("a.example", CertifiedKey::new(challenge.chain.clone(), signing_key(&challenge.key).unwrap()));
    assert!(authority.handshake(&cert_resolver, Some("a.example"), only).unwrap() == challenge.leaf());
    for others in [&[b"h2".as_slice()] as &[&[u8]], &[b"http/1.1", ACME_TLS], &[]] {
        assert!(authority.handshake(&cert_resolver, Some("a.example"), others).unwrap() == real.leaf(), "{others:?}");
    }
    assert!(authority.handshake(&cert_resolver, Some("b.example"), only).is_err());
    cert_resolver.withdraw_challenge("a.example");
    assert!(authority.handshake(&cert_resolver, Some("a.example"), only).is_err());
}

#[test]
fn a_key_that_cannot_be_opened_affects_no_other_name() {
    let authority = Authority::new();
    let cert_resolver = CertResolver::new(Some(seal()), "own.example", true);
    for (name, place) in [("good.example", "certificate/good.example"), ("moved.example", "certificate/elsewhere")] {
        let made = authority.issue(&[name]);
        cert_resolver.place(&made.names, made.chain.clone(), made.sealed_key(place, &format!("certificate/{name}")));
    }
    for _ in 0..2 {
        authority.handshake(&cert_resolver, Some("good.example"), &[]).unwrap();
        authority.handshake(&cert_resolver, Some("moved.example"), &[]).unwrap_err();
    }
    let keyless = CertResolver::new(None, "own.example", true);
    authority.issue(&["good.example"]).put_on(&keyless);
    authority.handshake(&keyless, Some("good.example"), &[]).unwrap_err();
}

#[test]
fn chains_of_one_authority_share_their_intermediates() {
    let authority = Authority::new();
    let cert_resolver = CertResolver::new(Some(seal()), "own.example", true);
    for name in ["a.example", "b.example"] {
        authority.issue(&[name]).put_on(&cert_resolver);
    }
    Authority::new().issue(&["c.example"]).put_on(&cert_resolver);
    let issuers = |name: &str| cert_resolver.served().named(name).unwrap().issuers.clone();
    assert!(Arc::ptr_eq(&issuers("a.example"), &issuers("b.example")));
    assert!(!Arc::ptr_eq(&issuers("a.example"), &issuers("c.example")));
    cert_resolver.remove("c.example");
    authority.issue(&["d.example"]).put_on(&cert_resolver);
    Authority::new().issue(&["e.example"]).put_on(&cert_resolver);
    assert_eq!(lock(&cert_resolver.issuers).len(), 2, "unused ones are removed");
}
