//! After each change of a certificate, this server connects to its own listener [as a client](super::dial) and compares
//! the certificate that it gets with the one that should be served. A difference is shown as a problem of that
//! certificate, and checked again at growing intervals until it is gone.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Weak;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::CertResolver;
use super::dial::served_certificate;
use super::leaf::Leaf;

const MIN_RECHECK_INTERVAL: Duration = Duration::from_secs(1);
const MAX_RECHECK_INTERVAL: Duration = Duration::from_hours(1);

/// Checks after every change until the resolver is dropped. `notify` is called with each name whose result has changed.
pub async fn watch(
    cert_resolver: Weak<CertResolver>,
    mut swaps: mpsc::UnboundedReceiver<String>,
    listener: SocketAddr,
    notify: impl Fn(&str),
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
        let Some(expected) = cert_resolver.upgrade().map(|cert_resolver| cert_resolver.certificate_for(&name)) else {
            return;
        };
        let host = host_for(&name);
        let served = served_certificate(address, &host).await;
        let Some(cert_resolver) = cert_resolver.upgrade() else { return };
        // Changed meanwhile, which leads to another check.
        if expected != cert_resolver.certificate_for(&name) {
            continue;
        }
        let expected = expected.and_then(|expected| Some((Leaf::read(&expected)?, expected)));
        let difference = expected.as_ref().and_then(|(leaf, expected)| match &served {
            Ok(served) if **served == **expected => None,
            other => Some(difference(&cert_resolver, &host, leaf, address, other)),
        });
        let serial = expected.as_ref().map_or("", |(leaf, _)| leaf.serial.as_str());
        if let Some(difference) = &difference {
            tracing::error!(%name, %address, difference, "the certificate is not served");
            let wait =
                again.get(&name).map_or(MIN_RECHECK_INTERVAL, |before| (before.wait * 2).min(MAX_RECHECK_INTERVAL));
            again.insert(name.clone(), RetryAt { at: Instant::now() + wait, wait });
        } else {
            again.remove(&name);
            if expected.is_some() {
                tracing::info!(%name, "the new certificate is served");
            }
        }
        if cert_resolver.mismatches().note(&name, serial, difference) {
            notify(&name);
        }
    }
}

/// When a name is checked again.
struct RetryAt {
    at: Instant,
    /// After the check before.
    wait: Duration,
}

async fn due(soonest: Option<(String, Instant)>) -> String {
    let Some((name, at)) = soonest else { return std::future::pending().await };
    tokio::time::sleep_until(at).await;
    name
}

/// The name to connect for; any one below a wildcard.
fn host_for(name: &str) -> String {
    name.strip_prefix("*.").map_or_else(|| name.to_owned(), |parent| format!("bitcall-check.{parent}"))
}

/// One sentence: what is served, what should be, and what to do about it.
fn difference(
    cert_resolver: &CertResolver,
    host: &str,
    expected: &Leaf,
    address: SocketAddr,
    served: &io::Result<CertificateDer<'static>>,
) -> String {
    let expected = format!("its certificate (serial {}, until {})", expected.serial, expected.not_after);
    let served = match served {
        Ok(served) => served,
        Err(error) => {
            return format!(
                "Who asks for {host} at {address} is not shown {expected}: {error}; the server's log says more, and whether another program listens there."
            );
        }
    };
    let other = Leaf::read(served).map_or_else(
        || "one that cannot be read".to_owned(),
        |leaf| format!("another (serial {}, until {}, by {})", leaf.serial, leaf.not_after, leaf.issuer),
    );
    let remedy = if cert_resolver.comes_from_files(served) {
        "the files that `[tls]` names cover the name and come first: take it out of them, or leave it to them alone"
    } else {
        "another program listens there: end it, or let it pass the connections on"
    };
    format!("Who asks for {host} at {address} is not shown {expected}, but {other}; {remedy}.")
}

/// The address to connect to; that of a listener on all addresses is the loopback one.
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
        fn put_on(&self, cert_resolver: &CertResolver, name: &str) {
            let sealed = Seal::new(["the key"]).unwrap().seal("here", self.key.clone()).unwrap().bytes().unwrap();
            let key = Key { about: "here".into(), sealed: sealed.into() };
            cert_resolver.put(&[name.to_owned()], self.chain.clone(), key);
        }
    }

    fn cert_resolver() -> Arc<CertResolver> {
        CertResolver::new(Seal::new(["the key"]), "own.example", true)
    }

    /// A server with this resolver.
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
    async fn a_mismatch_is_reported_and_checked_again_until_it_is_gone() {
        let name = "*.a.example";
        let (ours, others) = (cert_resolver(), cert_resolver());
        let address = listener(Arc::clone(&others)).await;
        let (sender, mut changes) = mpsc::unbounded_channel();
        let notify = move |name: &str| sender.send(name.to_owned()).unwrap();
        tokio::spawn(watch(Arc::downgrade(&ours), ours.swaps(), address, notify));
        let problem = |made: &Made| ours.mismatches().of(&made.serial, &[name.to_owned()]);

        let (expected, other) = (made(name), made(name));
        expected.put_on(&ours, name);
        assert_eq!(changes.recv().await.unwrap(), name);
        let unreachable = problem(&expected).unwrap().message;
        assert!(unreachable.contains(&expected.serial) && unreachable.contains(&address.to_string()), "{unreachable}");

        // From here on our own resolver does not change: the check is repeated without that.
        other.put_on(&others, name);
        assert_eq!(changes.recv().await.unwrap(), name);
        let another = problem(&expected).unwrap();
        for word in [&expected.serial, &other.serial, "another program"] {
            assert!(another.message.contains(word), "{word}: {}", another.message);
        }
        assert_eq!(another.kind, ProblemKind::NotServed);
        assert_eq!(problem(&other), None, "it is not expected to be served");
        expected.put_on(&others, name);
        assert_eq!(changes.recv().await.unwrap(), name);
        assert_eq!(problem(&expected), None);
    }
}
