//! After a certificate was swapped, this server [looks](super::dial) at itself from outside, and compares what is
//! shown with what is meant to be. A difference is a problem of that certificate, told wherever it is shown, and
//! looked at again, ever more rarely, until it is gone.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Weak;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::CertResolver;
use super::dial::shown;
use super::leaf::Leaf;

const MIN_RECHECK_INTERVAL: Duration = Duration::from_secs(1);
const MAX_RECHECK_INTERVAL: Duration = Duration::from_hours(1);

/// Looks after every swap, until the resolver is gone. `tell` is called with names of which the resolver knows something else
/// than before.
pub async fn watch(
    cert_resolver: Weak<CertResolver>,
    mut swaps: mpsc::UnboundedReceiver<String>,
    listener: SocketAddr,
    tell: impl Fn(&str),
) {
    let address = reachable(listener);
    let mut again: HashMap<String, RetryAt> = HashMap::new();
    loop {
        let soonest = again.iter().min_by_key(|(_, again)| again.at).map(|(name, again)| (name.clone(), again.at));
        let name = tokio::select! {
            swapped = swaps.recv() => match swapped {
                Some(name) => name,
                None => return,
            },
            name = due(soonest) => name,
        };
        let Some(meant) = cert_resolver.upgrade().map(|cert_resolver| cert_resolver.put_for(&name)) else { return };
        let asked = asked(&name);
        let found = shown(address, &asked).await;
        let Some(cert_resolver) = cert_resolver.upgrade() else { return };
        // Swapped again meanwhile: then it is looked at again.
        if meant != cert_resolver.put_for(&name) {
            continue;
        }
        let meant = meant.and_then(|meant| Some((Leaf::read(&meant)?, meant)));
        let difference = meant.as_ref().and_then(|(leaf, meant)| match &found {
            Ok(found) if **found == **meant => None,
            other => Some(difference(&cert_resolver, &asked, leaf, address, other)),
        });
        let serial = meant.as_ref().map_or("", |(leaf, _)| leaf.serial.as_str());
        if let Some(difference) = &difference {
            tracing::error!(%name, %address, difference, "the certificate is not served");
            let wait =
                again.get(&name).map_or(MIN_RECHECK_INTERVAL, |before| (before.wait * 2).min(MAX_RECHECK_INTERVAL));
            again.insert(name.clone(), RetryAt { at: Instant::now() + wait, wait });
        } else {
            again.remove(&name);
            if meant.is_some() {
                tracing::info!(%name, "the new certificate is served");
            }
        }
        if cert_resolver.mismatches().note(&name, serial, difference) {
            tell(&name);
        }
    }
}

/// When a name is looked at again.
struct RetryAt {
    at: Instant,
    /// That much after the look before.
    wait: Duration,
}

async fn due(soonest: Option<(String, Instant)>) -> String {
    let Some((name, at)) = soonest else { return std::future::pending().await };
    tokio::time::sleep_until(at).await;
    name
}

/// Any name below a wildcard is as good as another.
fn asked(name: &str) -> String {
    name.strip_prefix("*.").map_or_else(|| name.to_owned(), |parent| format!("bitcall-check.{parent}"))
}

/// What is shown, what should be, and what to do about it.
fn difference(
    cert_resolver: &CertResolver,
    asked: &str,
    meant: &Leaf,
    address: SocketAddr,
    found: &io::Result<CertificateDer<'static>>,
) -> String {
    let meant = format!("its certificate (serial {}, until {})", meant.serial, meant.not_after);
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            return format!(
                "Who asks for {asked} at {address} is not shown {meant}: {error}; the server's log says more, and whether another program listens there."
            );
        }
    };
    let other = Leaf::read(found).map_or_else(
        || "one that cannot be read".to_owned(),
        |leaf| format!("another (serial {}, until {}, by {})", leaf.serial, leaf.not_after, leaf.issuer),
    );
    let remedy = if cert_resolver.comes_from_files(found) {
        "the files that `[tls]` names cover the name and come first: take it out of them, or leave it to them alone"
    } else {
        "another program listens there: end it, or let it pass the connections on"
    };
    format!("Who asks for {asked} at {address} is not shown {meant}, but {other}; {remedy}.")
}

/// Where a listener on any address is reached from here.
fn reachable(listener: SocketAddr) -> SocketAddr {
    let loopback: IpAddr = if listener.is_ipv6() { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
    let ip = if listener.ip().is_unspecified() { loopback } else { listener.ip() };
    SocketAddr::new(ip, listener.port())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::sync::Arc;

    use rustls::ServerConfig;
    use rustls::crypto::aws_lc_rs;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::certs::ProblemKind;
    use crate::certs::Seal;
    use crate::certs::cert_resolver::Key;

    struct Made {
        chain: Vec<CertificateDer<'static>>,
        key: Vec<u8>,
        serial: String,
    }

    fn made(name: &str) -> Made {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let (chain, key) = (vec![made.cert.der().clone()], made.signing_key.serialize_der());
        let serial = Leaf::read(&chain[0]).unwrap().serial;
        Made { chain, key, serial }
    }

    impl Made {
        fn put_on(&self, place: &CertResolver, name: &str) {
            let sealed = Seal::new(["the key"]).unwrap().seal("here", self.key.clone()).unwrap().bytes().unwrap();
            let key = Key { about: "here".into(), sealed: sealed.into() };
            place.put(&[name.to_owned()], self.chain.clone(), key);
        }
    }

    fn cert_resolver() -> Arc<CertResolver> {
        CertResolver::new(Seal::new(["the key"]), "own.example", true)
    }

    /// A server that shows what its resolver has.
    async fn listener(cert_resolver: Arc<CertResolver>) -> SocketAddr {
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(cert_resolver);
        let (acceptor, socket) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let _ = acceptor.accept(socket.accept().await.unwrap().0).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn what_another_program_shows_is_told_and_looked_at_again_until_it_is_right() {
        let name = "*.a.example";
        let (ours, others) = (cert_resolver(), cert_resolver());
        let address = listener(Arc::clone(&others)).await;
        let (news, mut heard) = mpsc::unbounded_channel();
        let tell = move |name: &str| news.send(name.to_owned()).unwrap();
        tokio::spawn(watch(Arc::downgrade(&ours), ours.swaps(), address, tell));
        let problem = |made: &Made| ours.mismatches().of(&made.serial, &[name.to_owned()]);

        let (meant, other) = (made(name), made(name));
        meant.put_on(&ours, name);
        assert_eq!(heard.recv().await.unwrap(), name);
        let nobody = problem(&meant).unwrap().message;
        assert!(nobody.contains(&meant.serial) && nobody.contains(&address.to_string()), "{nobody}");

        // From here on nobody swaps anything on our cert_resolver: it is looked at again by itself.
        other.put_on(&others, name);
        assert_eq!(heard.recv().await.unwrap(), name);
        let another = problem(&meant).unwrap();
        for word in [&meant.serial, &other.serial, "another program"] {
            assert!(another.message.contains(word), "{word}: {}", another.message);
        }
        assert_eq!(another.kind, ProblemKind::NotServed);
        assert_eq!(problem(&other), None, "of that one nobody said that it should be shown");
        meant.put_on(&others, name);
        assert_eq!(heard.recv().await.unwrap(), name);
        assert_eq!(problem(&meant), None);
    }
}
