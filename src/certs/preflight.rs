//! Checks before an order is placed that the authority's validation would reach this server: a validation that reaches
//! another server counts as failed, and authorities allow few of those.
//!
//! The rule: only an answer of another server holds an order back, or the DNS's own answer that the name has no address.
//! No answer proves nothing, because behind a router a
//! machine often cannot reach its own public address. And this machine's view of the network need not be the
//! authority's, so that even a name that seems to lead to another server is ordered once a day.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _, join_all};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::acme_error::{AcmeError, Kind};
use super::cert_resolver::CertResolver;
use super::challenges::ChallengeStore;
use super::client::ChallengeResponse;
use super::dial;
use super::order::{Method, Reachability};
use crate::hostname::Hostname;

/// For all addresses together.
const PREFLIGHT_TIMEOUT: Duration = Duration::from_secs(8);
const MAX_BODY_BYTES: usize = 16 << 10;

/// Where the authority connects to.
#[derive(Debug, PartialEq, Eq)]
pub enum Addresses {
    /// Empty where the name has none that could be looked at from here.
    Known(Vec<SocketAddr>),
    /// The name does not exist in the public DNS, or has no address there.
    Missing(AcmeError),
}

/// What a certificate authority finds in DNS. A trait, because this module does not import [`crate::dns`]; whoever
/// opens [`Certs`](super::Certs) implements it.
pub trait Preflight: Send + Sync + 'static {
    /// Where the authority connects to for HTTP-01 or TLS-ALPN-01.
    fn addresses<'a>(&'a self, name: &'a Hostname, method: Method) -> BoxFuture<'a, Addresses>;

    /// Whether the authority finds this server's DNS for the names of DNS-01.
    fn zone(&self) -> BoxFuture<'_, Reachability>;
}

/// Knows nothing of DNS, and so holds no order back.
impl Preflight for () {
    fn addresses<'a>(&'a self, _: &'a Hostname, _: Method) -> BoxFuture<'a, Addresses> {
        std::future::ready(Addresses::Known(Vec::new())).boxed()
    }

    fn zone(&self) -> BoxFuture<'_, Reachability> {
        std::future::ready(Reachability::Unknown("nobody has looked".into())).boxed()
    }
}

/// Checks `name` as an authority validates it. Ends within seconds.
pub async fn check(
    preflight: &dyn Preflight,
    challenges: &ChallengeStore,
    cert_resolver: &Arc<CertResolver>,
    name: &Hostname,
    method: Method,
) -> Reachability {
    let checks = async {
        if method == Method::Dns01 {
            return preflight.zone().await;
        }
        let addresses = match preflight.addresses(name, method).await {
            Addresses::Known(addresses) => addresses,
            Addresses::Missing(error) => return Reachability::Elsewhere(error),
        };
        let Ok((response, secret)) = probe(name, method) else {
            return Reachability::Unknown("cannot be looked at: there is no randomness".into());
        };
        let Ok(_published) = challenges.publish(std::slice::from_ref(&response), cert_resolver) else {
            return Reachability::Unknown("cannot be looked at: no answer can be put up".into());
        };
        let results = join_all(addresses.into_iter().map(async |address| match method {
            Method::Http01 => by_http(address, name, &response).await,
            _ => by_tls(address, name, &secret).await,
        }));
        combined(results.await)
    };
    let timed_out = || Reachability::Unknown("could not be looked at in time".into());
    tokio::time::timeout(PREFLIGHT_TIMEOUT, checks).await.unwrap_or_else(|_| timed_out())
}

/// The authority may connect to any of the addresses, so that each of them has to lead here.
fn combined(results: Vec<Reachability>) -> Reachability {
    let mut best = Reachability::Unknown("has no public address that could be looked at from here".into());
    for result in results {
        match result {
            Reachability::Elsewhere(_) => return result,
            Reachability::Here => best = result,
            Reachability::Unknown(_) if best != Reachability::Here => best = result,
            Reachability::Unknown(_) => {}
        }
    }
    best
}

/// A response to a challenge of this server's own, with a secret that no other server can answer with.
fn probe(name: &Hostname, method: Method) -> Result<(ChallengeResponse, [u8; 32]), getrandom::Error> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    let text = secret.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    });
    let (token, expected) = text.split_at(text.len() / 2);
    let response = ChallengeResponse {
        method,
        name: name.to_string(),
        token: format!("look-{token}"),
        key_authorization: format!("look-{token}.{expected}"),
        digest: secret.to_vec(),
        dns_value: String::new(),
    };
    Ok((response, secret))
}

async fn by_http(address: SocketAddr, name: &Hostname, expected: &ChallengeResponse) -> Reachability {
    let unknown = |error: &dyn std::fmt::Display| {
        Reachability::Unknown(format!("cannot be reached from here at {address}: {error}"))
    };
    let stream = match TcpStream::connect(address).await {
        Ok(stream) => stream,
        Err(error) => return unknown(&error),
    };
    let answer = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::get(format!("/.well-known/acme-challenge/{}", expected.token))
            .header(HOST, name.as_str())
            .header(USER_AGENT, concat!("bitcall/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new());
        let Ok(request) = request else { return Ok(None) };
        let exchange = async {
            let response = sender.send_request(request).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_BODY_BYTES).collect().await.map(http_body_util::Collected::to_bytes);
            Ok::<_, hyper::Error>(Some((head.status, body.unwrap_or_default())))
        };
        tokio::select! {
            outcome = exchange => outcome,
            Err(error) = connection => Err(error),
        }
    };
    match answer.await {
        Ok(Some((_, body))) if body == expected.key_authorization.as_bytes() => Reachability::Here,
        // The authority follows the redirect, which may lead to this server.
        Ok(Some((status, _))) if status.is_redirection() => {
            Reachability::Unknown(format!("sends who comes to {address} elsewhere"))
        }
        Ok(Some((status, _))) => elsewhere(name, address, &format!("HTTP status {}", status.as_u16())),
        Ok(None) => Reachability::Unknown("cannot be asked for".into()),
        // This server answers by HTTP.
        Err(error) if error.is_parse() => elsewhere(name, address, "something that is no HTTP"),
        Err(error) => unknown(&error),
    }
}

async fn by_tls(address: SocketAddr, name: &Hostname, secret: &[u8]) -> Reachability {
    match dial::challenge_certificate(address, name.as_str()).await {
        Ok(leaf) if leaf.windows(secret.len()).any(|part| part == secret) => Reachability::Here,
        Ok(_) => elsewhere(name, address, "a certificate of its own"),
        Err(error) if is_refusal(&error) => elsewhere(name, address, "a refusal of the protocol acme-tls/1"),
        Err(error) => Reachability::Unknown(format!("cannot be reached from here at {address}: {error}")),
    }
}

/// A TLS alert, or an answer that is not TLS at all.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.get_ref(), Some(inner) if inner.is::<rustls::Error>())
}

fn elsewhere(name: &Hostname, address: SocketAddr, answer: &str) -> Reachability {
    let port = address.port();
    let message = format!(
        "Another server than this one answers for {name} on port {port} ({}) with {answer}: lead port {port} of {name} to this server.",
        address.ip()
    );
    Reachability::Elsewhere(AcmeError::new(Kind::Unauthorized, message))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use rustls::ServerConfig;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::certs::ACME_TLS;

    const NAME: &str = "phone.acme.example";

    /// Any name has these addresses.
    struct OfAnyName(Vec<SocketAddr>);

    impl Preflight for OfAnyName {
        fn addresses<'a>(&'a self, _: &'a Hostname, _: Method) -> BoxFuture<'a, Addresses> {
            std::future::ready(Addresses::Known(self.0.clone())).boxed()
        }

        fn zone(&self) -> BoxFuture<'_, Reachability> {
            std::future::ready(Reachability::Here).boxed()
        }
    }

    struct Server {
        address: SocketAddr,
        task: JoinHandle<()>,
    }

    impl Drop for Server {
        fn drop(&mut self) {
            self.task.abort();
        }
    }

    /// A server that answers each request by what `answer` makes of its path.
    async fn http(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap();
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                let path = request.split(' ').nth(1).unwrap_or_default();
                stream.write_all(answer(path).as_bytes()).await.unwrap();
            }
        });
        Server { address, task }
    }

    fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
    }

    async fn tls(cert_resolver: Arc<CertResolver>) -> Server {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_no_client_auth().with_cert_resolver(cert_resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec(), ACME_TLS.to_vec()];
        let (listener, acceptor) =
            (TcpListener::bind("127.0.0.1:0").await.unwrap(), TlsAcceptor::from(Arc::new(config)));
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let _ = acceptor.accept(stream).await;
            }
        });
        Server { address, task }
    }

    async fn checked(
        addresses: &[SocketAddr],
        challenges: &ChallengeStore,
        cert_resolver: &Arc<CertResolver>,
        method: Method,
    ) -> Reachability {
        check(&OfAnyName(addresses.to_vec()), challenges, cert_resolver, &NAME.parse().unwrap(), method).await
    }

    fn cert_resolver() -> Arc<CertResolver> {
        CertResolver::new(None, "", true)
    }

    /// The message of [`Reachability::Elsewhere`].
    fn problem(result: Reachability) -> String {
        match result {
            Reachability::Elsewhere(error) => error.message,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn http_01_tells_this_servers_answer_another_servers_and_none_apart() {
        let (challenges, cert_resolver) = (ChallengeStore::default(), cert_resolver());
        let ours = http({
            let challenges = challenges.clone();
            move |path| ok(&challenges.http(path.rsplit('/').next().unwrap()).unwrap_or_default())
        })
        .await;
        assert_eq!(checked(&[ours.address], &challenges, &cert_resolver, Method::Http01).await, Reachability::Here);
        let theirs = http(|_| "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".into()).await;
        let message = problem(checked(&[theirs.address], &challenges, &cert_resolver, Method::Http01).await);
        let port = format!("port {}", theirs.address.port());
        assert!(message.contains(NAME) && message.contains(&port) && message.contains("404"), "{message}");
        let welcome = http(|_| ok("<h1>Welcome to nginx!</h1>")).await;
        assert!(
            problem(checked(&[welcome.address], &challenges, &cert_resolver, Method::Http01).await).contains("200")
        );
        // The authority could take either.
        let both = [ours.address, theirs.address];
        assert!(problem(checked(&both, &challenges, &cert_resolver, Method::Http01).await).contains("404"));
        let moved = http(|path| {
            format!(
                "HTTP/1.1 301 Moved\r\nlocation: https://{NAME}{path}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
        })
        .await;
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        for addresses in [vec![moved.address], vec![closed], vec![]] {
            let result = checked(&addresses, &challenges, &cert_resolver, Method::Http01).await;
            assert!(matches!(result, Reachability::Unknown(_)), "{result:?}");
        }
        assert_eq!(
            checked(&[closed, ours.address], &challenges, &cert_resolver, Method::Http01).await,
            Reachability::Here
        );
    }

    #[tokio::test]
    async fn tls_alpn_01_accepts_only_the_certificate_of_the_check_itself() {
        let (challenges, cert_resolver) = (ChallengeStore::default(), cert_resolver());
        let ours = tls(Arc::clone(&cert_resolver)).await;
        assert_eq!(checked(&[ours.address], &challenges, &cert_resolver, Method::TlsAlpn01).await, Reachability::Here);
        // A server without challenges, and one without TLS.
        let theirs = tls(self::cert_resolver()).await;
        let plain = http(|_| ok("hello")).await;
        for other in [theirs.address, plain.address] {
            let message = problem(checked(&[other], &challenges, &cert_resolver, Method::TlsAlpn01).await);
            assert!(message.contains(&format!("port {}", other.port())), "{message}");
        }
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let result = checked(&[closed], &challenges, &cert_resolver, Method::TlsAlpn01).await;
        assert!(matches!(result, Reachability::Unknown(_)), "{result:?}");
    }
}
