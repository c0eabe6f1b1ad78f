//! Whether a name leads here, looked at before an order is placed: an authority that is sent to somebody else's
//! server notes a failed validation, and allows few of them.
//!
//! The rule: only an answer that is somebody else's holds an order back. That nothing answers proves nothing, because
//! behind a router, or in a network of its own, a machine often cannot reach its own public address. And what is
//! seen from inside need not be what the world sees: so even a name that seems to lead elsewhere is tried once
//! a day.

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

/// For all addresses at once.
const PREFLIGHT_TIMEOUT: Duration = Duration::from_secs(8);
const MAX_BODY_BYTES: usize = 16 << 10;

/// Who knows where an authority would go. Behind a trait: whoever opens [`Certs`](super::Certs) knows DNS.
pub trait Preflight: Send + Sync + 'static {
    /// Where it connects to for HTTP-01 or TLS-ALPN-01; none where that cannot be told from here.
    fn addresses<'a>(&'a self, name: &'a Hostname, method: Method) -> BoxFuture<'a, Vec<SocketAddr>>;

    /// Whether it finds our own DNS server for what DNS-01 proves.
    fn zone(&self) -> BoxFuture<'_, Reachability>;
}

/// Nobody knows, and so nothing is held back.
impl Preflight for () {
    fn addresses<'a>(&'a self, _: &'a Hostname, _: Method) -> BoxFuture<'a, Vec<SocketAddr>> {
        std::future::ready(Vec::new()).boxed()
    }

    fn zone(&self) -> BoxFuture<'_, Reachability> {
        std::future::ready(Reachability::Unknown("nobody has looked".into())).boxed()
    }
}

/// Looks for `name` as an authority would. Ends within seconds.
pub async fn look(
    scout: &dyn Preflight,
    board: &ChallengeStore,
    cert_resolver: &Arc<CertResolver>,
    name: &Hostname,
    method: Method,
) -> Reachability {
    let looking = async {
        if method == Method::Dns01 {
            return scout.zone().await;
        }
        let addresses = scout.addresses(name, method).await;
        let Ok((proof, secret)) = trial(name, method) else {
            return Reachability::Unknown("cannot be looked at: there is no randomness".into());
        };
        let Ok(_notices) = board.put(std::slice::from_ref(&proof), cert_resolver) else {
            return Reachability::Unknown("cannot be looked at: no answer can be put up".into());
        };
        let seen = join_all(addresses.into_iter().map(async |address| match method {
            Method::Http01 => by_http(address, name, &proof).await,
            _ => by_tls(address, name, &secret).await,
        }));
        together(seen.await)
    };
    let late = || Reachability::Unknown("could not be looked at in time".into());
    tokio::time::timeout(PREFLIGHT_TIMEOUT, looking).await.unwrap_or_else(|_| late())
}

/// The authority may take any of the addresses.
fn together(seen: Vec<Reachability>) -> Reachability {
    let mut best = Reachability::Unknown("has no public address that could be looked at from here".into());
    for sight in seen {
        match sight {
            Reachability::Elsewhere(_) => return sight,
            Reachability::Here => best = sight,
            Reachability::Unknown(_) if best != Reachability::Here => best = sight,
            Reachability::Unknown(_) => {}
        }
    }
    best
}

/// A challenge that nobody has set, and what nobody else can answer it with.
fn trial(name: &Hostname, method: Method) -> Result<(ChallengeResponse, [u8; 32]), getrandom::Error> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    let text = secret.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    });
    let (token, expected) = text.split_at(text.len() / 2);
    let proof = ChallengeResponse {
        method,
        name: name.to_string(),
        token: format!("look-{token}"),
        key_authorization: format!("look-{token}.{expected}"),
        digest: secret.to_vec(),
        dns_value: String::new(),
    };
    Ok((proof, secret))
}

async fn by_http(address: SocketAddr, name: &Hostname, proof: &ChallengeResponse) -> Reachability {
    let unknown = |error: &dyn std::fmt::Display| {
        Reachability::Unknown(format!("cannot be reached from here at {address}: {error}"))
    };
    let stream = match TcpStream::connect(address).await {
        Ok(stream) => stream,
        Err(error) => return unknown(&error),
    };
    let answer = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::get(format!("/.well-known/acme-challenge/{}", proof.token))
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
        Ok(Some((_, body))) if body == proof.key_authorization.as_bytes() => Reachability::Here,
        // The authority follows, and may well come here.
        Ok(Some((status, _))) if status.is_redirection() => {
            Reachability::Unknown(format!("sends who comes to {address} elsewhere"))
        }
        Ok(Some((status, _))) => elsewhere(name, address, &format!("HTTP status {}", status.as_u16())),
        Ok(None) => Reachability::Unknown("cannot be asked for".into()),
        // Whoever answers something that is no HTTP is not this server.
        Err(error) if error.is_parse() => elsewhere(name, address, "something that is no HTTP"),
        Err(error) => unknown(&error),
    }
}

async fn by_tls(address: SocketAddr, name: &Hostname, secret: &[u8]) -> Reachability {
    match dial::validated(address, name.as_str()).await {
        Ok(leaf) if leaf.windows(secret.len()).any(|part| part == secret) => Reachability::Here,
        Ok(_) => elsewhere(name, address, "a certificate of its own"),
        Err(error) if is_refusal(&error) => elsewhere(name, address, "a refusal of the protocol acme-tls/1"),
        Err(error) => Reachability::Unknown(format!("cannot be reached from here at {address}: {error}")),
    }
}

/// Of somebody who understood the question, or speaks no TLS at all.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.get_ref(), Some(inner) if inner.is::<rustls::Error>())
}

fn elsewhere(name: &Hostname, address: SocketAddr, seen: &str) -> Reachability {
    let port = address.port();
    let message = format!(
        "Another server than this one answers for {name} on port {port} ({}) with {seen}: lead port {port} of {name} to this server.",
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

    /// Sends everybody to these addresses.
    struct To(Vec<SocketAddr>);

    impl Preflight for To {
        fn addresses<'a>(&'a self, _: &'a Hostname, _: Method) -> BoxFuture<'a, Vec<SocketAddr>> {
            std::future::ready(self.0.clone()).boxed()
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

    /// Answers each request by the words that `answer` makes of its path.
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

    async fn seen(
        addresses: &[SocketAddr],
        board: &ChallengeStore,
        cert_resolver: &Arc<CertResolver>,
        method: Method,
    ) -> Reachability {
        look(&To(addresses.to_vec()), board, cert_resolver, &NAME.parse().unwrap(), method).await
    }

    fn cert_resolver() -> Arc<CertResolver> {
        CertResolver::new(None, "", true)
    }

    /// What is wrong with what another server answers.
    fn problem(sight: Reachability) -> String {
        match sight {
            Reachability::Elsewhere(trouble) => trouble.message,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn by_http_only_this_servers_own_answer_is_here_and_only_another_ones_is_elsewhere() {
        let (board, cert_resolver) = (ChallengeStore::default(), cert_resolver());
        let ours = http({
            let board = board.clone();
            move |path| ok(&board.http(path.rsplit('/').next().unwrap()).unwrap_or_default())
        })
        .await;
        assert_eq!(seen(&[ours.address], &board, &cert_resolver, Method::Http01).await, Reachability::Here);
        let theirs = http(|_| "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".into()).await;
        let message = problem(seen(&[theirs.address], &board, &cert_resolver, Method::Http01).await);
        let port = format!("port {}", theirs.address.port());
        assert!(message.contains(NAME) && message.contains(&port) && message.contains("404"), "{message}");
        let welcome = http(|_| ok("<h1>Welcome to nginx!</h1>")).await;
        assert!(problem(seen(&[welcome.address], &board, &cert_resolver, Method::Http01).await).contains("200"));
        // The authority could take either.
        let both = [ours.address, theirs.address];
        assert!(problem(seen(&both, &board, &cert_resolver, Method::Http01).await).contains("404"));
        let moved = http(|path| {
            format!(
                "HTTP/1.1 301 Moved\r\nlocation: https://{NAME}{path}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
        })
        .await;
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        for addresses in [vec![moved.address], vec![closed], vec![]] {
            let sight = seen(&addresses, &board, &cert_resolver, Method::Http01).await;
            assert!(matches!(sight, Reachability::Unknown(_)), "{sight:?}");
        }
        assert_eq!(seen(&[closed, ours.address], &board, &cert_resolver, Method::Http01).await, Reachability::Here);
    }

    #[tokio::test]
    async fn by_tls_only_the_certificate_that_was_just_put_up_is_here() {
        let (board, cert_resolver) = (ChallengeStore::default(), cert_resolver());
        let ours = tls(Arc::clone(&cert_resolver)).await;
        assert_eq!(seen(&[ours.address], &board, &cert_resolver, Method::TlsAlpn01).await, Reachability::Here);
        // One that knows of no challenge, and one that speaks no TLS.
        let theirs = tls(self::cert_resolver()).await;
        let plain = http(|_| ok("hello")).await;
        for other in [theirs.address, plain.address] {
            let message = problem(seen(&[other], &board, &cert_resolver, Method::TlsAlpn01).await);
            assert!(message.contains(&format!("port {}", other.port())), "{message}");
        }
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let sight = seen(&[closed], &board, &cert_resolver, Method::TlsAlpn01).await;
        assert!(matches!(sight, Reachability::Unknown(_)), "{sight:?}");
    }
}
