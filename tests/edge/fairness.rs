//! Fairness of the SIP edge: while an extension of one tenant floods it, calls of another tenant are set up as before.
//!
//! The server is on plain HTTP behind a proxy that the tests are themselves, so that each phone can have an address of its
//! own by `X-Forwarded-For`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bitcall_sip::message::{Message, Method, Response};
use futures_util::future::join_all;
use serde_json::json;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Mutex, MutexGuard};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use super::SDP;
use super::media::Media;
use super::sip_client::SipClient;
use crate::installation::Installation;

/// Calls in one measurement.
const CALLS: usize = 25;
/// Measurements of which the median counts.
const ROUNDS: usize = 3;
/// How often a flood that goes on is measured until a measurement is as good as without it: other tests take their turns on
/// the same two cores, and an edge that is not fair fails every time.
const ATTEMPTS: usize = 4;
/// How many times its quiet value the 95th percentile may reach.
const FACTOR: u32 = 3;
/// Quiet values below this count as this. One set-up passes between the two processes ten times, and on a machine whose two
/// cores are busy each of those may wait for a time slice of 2 to 4 ms, flood or not: a ratio of less measures the scheduler.
const FLOOR: Duration = Duration::from_millis(20);
/// What an extension may send at once is 400 messages, and a call takes four of its caller: the measured phones take turns,
/// so that they are not slowed themselves.
const PAIRS: usize = 4;

const FLOODER: &str = "198.51.100.1";
const OTHERS: &str = "203.0.113.1";
const PASSWORD: &str = "correct-horse-battery";

/// Held while a server is measured, as the flood of one test would slow the calls of another.
static MEASURING: Mutex<()> = Mutex::const_new(());

struct Server {
    _measuring: MutexGuard<'static, ()>,
    installation: Installation,
    address: String,
    flooding_domain: String,
    other_domain: String,
}

impl Server {
    /// With two tenants, and `more` configuration.
    async fn start(more: &str) -> Self {
        let measuring = MEASURING.lock().await;
        let installation = Installation::serving_with(more).await;
        let mut domains = Vec::new();
        for (tenant, extensions) in [("flooding", 3), ("other", 2 * PAIRS)] {
            installation.tenant(tenant, "enterprise").await;
            for n in 1..=extensions {
                let extension = json!({ "tenantId": tenant, "username": (100 + n).to_string(), "password": PASSWORD });
                let made = installation.done("POST", "/api/tenant/extensions", extension).await;
                if n == 1 {
                    domains.push(made["domain"].as_str().unwrap().to_owned());
                }
            }
        }
        let address = installation.address().to_owned();
        let [flooding_domain, other_domain] = <[String; 2]>::try_from(domains).unwrap();
        Self { _measuring: measuring, installation, address, flooding_domain, other_domain }
    }

    fn flooder(&self, user: &'static str) -> Account {
        Account {
            address: self.address.clone(),
            from: FLOODER,
            user: user.to_owned(),
            domain: self.flooding_domain.clone(),
        }
    }

    fn other(&self, n: usize) -> Account {
        let user = (100 + n).to_string();
        Account { address: self.address.clone(), from: OTHERS, user, domain: self.other_domain.clone() }
    }

    async fn pairs(&self) -> Vec<(SipClient, SipClient)> {
        let mut pairs = Vec::new();
        for n in 0..PAIRS {
            pairs.push((self.other(2 * n + 1).registered().await, self.other(2 * n + 2).registered().await));
        }
        pairs
    }
}

/// Somebody who can connect and sign in, from an address.
#[derive(Clone)]
struct Account {
    address: String,
    from: &'static str,
    user: String,
    domain: String,
}

impl Account {
    async fn open(&self, stream: TcpStream) -> SipClient {
        let mut request = format!("ws://{}/sip", self.address).into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("sip"));
        request.headers_mut().insert("X-Forwarded-For", HeaderValue::from_static(self.from));
        let (socket, _): (WebSocketStream<TcpStream>, _) =
            tokio_tungstenite::client_async(request, stream).await.unwrap();
        SipClient::over(socket, &self.user, PASSWORD, &self.domain)
    }

    async fn connect(&self) -> SipClient {
        self.open(TcpStream::connect(&self.address).await.unwrap()).await
    }

    /// With a receive buffer that is soon full.
    async fn connect_slow(&self) -> SipClient {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        self.open(socket.connect(self.address.parse().unwrap()).await.unwrap()).await
    }

    async fn registered(&self) -> SipClient {
        let mut phone = self.connect().await;
        assert_eq!(phone.try_register().await.status(), 200);
        phone
    }
}

/// A call from INVITE to 200; it is ended again.
async fn set_up((alice, bob): &mut (SipClient, SipClient)) -> Duration {
    let start = Instant::now();
    let ok = call(alice, bob).await;
    let took = start.elapsed();
    let bye = alice.send_in_dialog(Method::Bye, &ok).await;
    let request = bob.expect_request(Method::Bye).await;
    bob.respond(&request, 200, "").await;
    assert_eq!(alice.answer_to(&bye).await.status(), 200);
    took
}

/// A call that is up; the 200 as the caller got it.
async fn call(alice: &mut SipClient, bob: &mut SipClient) -> Response {
    let invite = alice.invite(&bob.address(), SDP).await;
    let rings = bob.expect_request(Method::Invite).await;
    bob.respond(&rings, 200, SDP).await;
    let ok = alice.answer_to(&invite).await;
    assert_eq!(ok.status(), 200);
    alice.send_in_dialog(Method::Ack, &ok).await;
    bob.expect_request(Method::Ack).await;
    ok
}

/// The median of several 95th percentiles of the time that a call takes to be set up.
async fn measure(pairs: &mut [(SipClient, SipClient)]) -> Duration {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let mut times = Vec::new();
        for n in 0..CALLS {
            times.push(set_up(&mut pairs[n % PAIRS]).await);
        }
        times.sort();
        rounds.push(times[CALLS * 95 / 100]);
    }
    rounds.sort();
    rounds[ROUNDS / 2]
}

/// A flood, on a thread of its own, so that it slows the measuring phones by nothing but the server.
struct Flood<T> {
    going_on: Arc<AtomicBool>,
    thread: JoinHandle<T>,
}

impl<T: Send + 'static> Flood<T> {
    fn start<F: Future<Output = T>>(flood: impl FnOnce(Arc<AtomicBool>) -> F + Send + 'static) -> Self {
        let going_on = Arc::new(AtomicBool::new(true));
        let told = Arc::clone(&going_on);
        let thread = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(flood(told))
        });
        Self { going_on, thread }
    }

    async fn end(self) -> T {
        self.going_on.store(false, Ordering::Relaxed);
        tokio::task::spawn_blocking(|| self.thread.join().unwrap()).await.unwrap()
    }
}

/// Asserts that calls are set up as fast as before while `flood` goes on, and returns what the flood has come to.
async fn others_are_as_fast_as_before<T: Send + 'static, F: Future<Output = T>>(
    server: &Server,
    flood: impl FnOnce(Arc<AtomicBool>) -> F + Send + 'static,
) -> T {
    let mut pairs = server.pairs().await;
    let quiet = measure(&mut pairs).await;
    let flood = Flood::start(flood);
    let mut flooded = Vec::new();
    let allowed = FACTOR * quiet.max(FLOOR);
    while flooded.len() < ATTEMPTS && flooded.iter().all(|measured| *measured > allowed) {
        // One that has ended would be measured as none.
        if !flooded.is_empty() && flood.thread.is_finished() {
            break;
        }
        flooded.push(measure(&mut pairs).await);
    }
    let outcome = flood.end().await;
    let allowed = allowed.max(FACTOR * measure(&mut pairs).await);
    println!("95th percentile of a call's set-up: {quiet:?} quiet, {flooded:?} flooded");
    assert!(flooded.iter().any(|measured| *measured <= allowed), "{quiet:?} quiet, {flooded:?} flooded");
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_extension_that_sends_invites_on_64_sockets_has_32_in_flight_and_other_tenants_call_as_before() {
    let server = Server::start("").await;
    let silent = server.flooder("102").registered().await;
    let (flooder, to) = (server.flooder("101"), silent.address());
    let answers = others_are_as_fast_as_before(&server, async move |_| {
        let sockets = (0..64).map(|_| async {
            let mut phone = flooder.connect().await;
            let invite = phone.request(Method::Invite, &to);
            phone.send(&invite).await;
            let challenge = phone.answer_to(&invite).await;
            for count in 1..=32 {
                let signed = phone.sign(&invite, &challenge, count);
                phone.send(&signed).await;
            }
            let mut answers = Vec::new();
            for _ in 1..=32 {
                let message = Message::parse(&phone.receive().await.expect("it stays connected")).unwrap();
                let Message::Response(response) = message else { panic!("{message:?}") };
                answers.push((response.status(), response.retry_after().unwrap()));
            }
            (answers, phone)
        });
        // Connected to the end, so that their requests stay in flight.
        join_all(sockets).await.into_iter().flat_map(|(answers, _)| answers).collect::<Vec<_>>()
    })
    .await;
    let count = |answer| answers.iter().filter(|given| **given == answer).count();
    let (accepted, busy, no_connection) = (count((100, None)), count((503, Some(5))), count((503, Some(60))));
    assert_eq!(accepted, 32);
    assert_eq!(no_connection, 34 * 32, "on the 31st socket and those after it nobody is signed in");
    assert_eq!(accepted + busy + no_connection, 64 * 32);
    drop(silent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_extension_that_opens_sockets_gets_its_share_of_them_and_other_tenants_connect_and_call_as_before() {
    let server = Server::start("[limits]\nmax_connections = 300\n").await;
    let flooder = server.flooder("101");
    let (signed_in, told_to_wait, closed, sockets) = others_are_as_fast_as_before(&server, async move |_| {
        let (mut signed_in, mut told_to_wait, mut closed, mut sockets) = (0, 0, 0, Vec::new());
        for _ in 0..200 {
            let mut phone = flooder.connect().await;
            // Not registered, so that it is not the number of contacts that counts.
            let options = phone.request(Method::Options, &format!("sip:102@{}", flooder.domain));
            phone.send(&options).await;
            match phone.receive().await.map(|bytes| Message::parse(&bytes).unwrap()) {
                None => closed += 1,
                Some(Message::Request(request)) => panic!("{request:?}"),
                Some(Message::Response(challenge)) => {
                    let signed = phone.sign(&options, &challenge, 1);
                    phone.send(&signed).await;
                    let refused = phone.answer_to(&signed).await.status() == 503;
                    *(if refused { &mut told_to_wait } else { &mut signed_in }) += 1;
                }
            }
            sockets.push(phone);
        }
        (signed_in, told_to_wait, closed, sockets)
    })
    .await;
    assert_eq!(signed_in, 30);
    assert_eq!(signed_in + told_to_wait + closed, 200);
    assert!((100..=170).contains(&(signed_in + told_to_wait)), "{told_to_wait}: half of what the others leave");
    server.other(1).registered().await;
    drop(sockets);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn extensions_that_call_the_echo_again_and_again_have_a_few_calls_and_another_tenant_still_gets_one() {
    let server = Server::start("").await;
    let flooders = ["101", "102", "103"].map(|user| server.flooder(user));
    let answers = others_are_as_fast_as_before(&server, async move |_| {
        let mut media = Media::bind();
        let mut answers = Vec::new();
        let mut phones = Vec::new();
        for flooder in flooders {
            let mut phone = flooder.registered().await;
            let mut given = Vec::new();
            for _ in 0..12 {
                let mut invite = phone.request(Method::Invite, &format!("sip:*43@{}", flooder.domain));
                invite.set_body("application/sdp", media.offer().as_bytes());
                given.push(phone.ask(&invite).await.status());
            }
            answers.push(given);
            phones.push(phone);
        }
        (answers, phones)
    })
    .await;
    let expected: Vec<Vec<u16>> =
        [4, 4, 3].map(|calls| (0..12).map(|n| if n < calls { 200 } else { 486 }).collect()).into();
    assert_eq!(answers.0, expected, "four of an extension, a third of all of a tenant");
    let log = std::fs::read_to_string(server.installation.data().with_file_name("log")).unwrap();
    let told: Vec<_> = log.lines().filter(|line| line.contains("refused: the share is used up")).collect();
    assert_eq!(told.len(), 3, "one line for each extension whose share is used up, and one for the tenant: {told:?}");
    assert!(told[0].contains("echo calls") && told[0].contains("101") && told[0].contains(FLOODER), "{}", told[0]);
    let mut phone = server.other(1).registered().await;
    let invite = phone.invite(&format!("sip:*43@{}", server.other_domain), &Media::bind().offer()).await;
    assert_eq!(phone.answer_to(&invite).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn guessed_passwords_are_compared_a_few_times_logged_in_a_few_lines_and_slow_no_other_tenant() {
    let server = Server::start("").await;
    let flooder = server.flooder("101");
    let (compared, refused) = others_are_as_fast_as_before(&server, async move |going_on| {
        let (compared, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let guessers = (0..8).map(|_| async {
            while going_on.load(Ordering::Relaxed) || refused.load(Ordering::Relaxed) < 8 {
                // On a new connection every time.
                let mut phone = flooder.connect().await;
                phone.password = "guess".to_owned();
                match phone.try_register().await.status() {
                    401 => compared.fetch_add(1, Ordering::Relaxed),
                    503 => refused.fetch_add(1, Ordering::Relaxed),
                    status => panic!("{status}"),
                };
            }
        });
        join_all(guessers).await;
        (compared.into_inner(), refused.into_inner())
    })
    .await;
    // Ten at once, and then one after one, two, four … seconds.
    assert!(compared <= 20 && refused >= 8, "{compared} compared, {refused} refused");
    let log = std::fs::read_to_string(server.installation.data().with_file_name("log")).unwrap();
    let lines = log.lines().filter(|line| line.contains("wrong SIP credentials")).count();
    assert!((1..=25).contains(&lines), "{lines} lines, of which a minute has eleven at most");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_flood_of_acks_waits_in_the_flooders_sockets_and_slows_no_other_tenant() {
    let server = Server::start("").await;
    let (flooder, callee) = (server.flooder("101"), server.flooder("102"));
    others_are_as_fast_as_before(&server, async move |going_on| {
        let mut other = callee.registered().await;
        let mut phones = Vec::new();
        for _ in 0..8 {
            let mut phone = flooder.registered().await;
            let ok = call(&mut phone, &mut other).await;
            let ack = String::from_utf8(phone.in_dialog(Method::Ack, &ok).to_bytes()).unwrap();
            phones.push((phone, ack));
        }
        let floods = phones.iter_mut().map(|(phone, ack)| async {
            while going_on.load(Ordering::Relaxed) {
                phone.send_text(ack).await;
            }
        });
        let arrivals = async {
            while going_on.load(Ordering::Relaxed) {
                other.expect_request(Method::Ack).await;
            }
        };
        tokio::select! { _ = join_all(floods) => {} () = arrivals => {} }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_phone_that_does_not_read_stays_connected_whatever_its_neighbours_send_and_slows_no_other_tenant() {
    let server = Server::start("").await;
    let mut slow = server.flooder("102").connect_slow().await;
    assert_eq!(slow.try_register().await.status(), 200);
    let mut flooder = server.flooder("101").registered().await;
    let ok = call(&mut flooder, &mut slow).await;
    let mut flooder = others_are_as_fast_as_before(&server, async move |_| {
        let mut ack = flooder.in_dialog(Method::Ack, &ok);
        ack.set_body("text/plain", &vec![b'x'; 50_000]);
        let ack = String::from_utf8(ack.to_bytes()).unwrap();
        // 15 MB, more than the buffers of the sockets between the server and the slow phone.
        for _ in 0..300 {
            flooder.send_text(&ack).await;
        }
        flooder
    })
    .await;
    let mut invite = flooder.request(Method::Invite, &slow.address());
    invite.set_body("application/sdp", &vec![b'x'; 50_000]);
    let refused = flooder.ask(&invite).await;
    assert_eq!((refused.status(), refused.retry_after().unwrap()), (480, Some(5)));
    // Now it reads: what had room is there, and it is still registered.
    slow.send_text("\r\n\r\n").await;
    let mut acks = 0;
    while slow.receive().await.expect("it is not closed") != b"\r\n" {
        acks += 1;
    }
    assert!((1..300).contains(&acks), "{acks}");
    server.flooder("103").registered().await.invite(&slow.address(), SDP).await;
    slow.expect_request(Method::Invite).await;
}
