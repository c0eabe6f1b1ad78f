//! A model of a certificate authority, with a clock and the driver's part.

use super::super::*;
use super::{START, elsewhere, sealed};
use crate::timestamp::Timestamp;

/// One name's record, and the authority that it is ordered from.
pub struct World {
    pub rules: Rules,
    /// None only while a step consumes it.
    record: Option<OrderRecord>,
    pub now: Timestamp,
    pub orders: Vec<TheirOrder>,
    /// One number decides one answer; when they are used up everything goes well.
    pub fate: std::vec::IntoIter<u8>,
    pub failed: Vec<Timestamp>,
    pub issued: Vec<Timestamp>,
    pub attempts: Vec<Timestamp>,
    pub retry_after: Option<Timestamp>,
    /// How often the authority gave a reason to drop an order.
    pub refusals: usize,
    pub lifetime: Duration,
    /// It suggests no renewal window.
    pub without_renewal_info: bool,
    /// It is unreachable until then.
    pub down_until: Option<Timestamp>,
}

#[derive(Debug)]
pub struct TheirOrder {
    pub names: Vec<String>,
    pub status: OrderStatus,
    pub authorizations: Vec<AuthorizationStatus>,
    /// It was told to validate the challenges.
    pub answered: bool,
}

impl World {
    pub fn new(rules: Rules, wanted: Wanted, fate: Vec<u8>) -> Self {
        Self {
            rules,
            record: Some(OrderRecord::new(wanted, START)),
            now: START,
            orders: Vec::new(),
            fate: fate.into_iter(),
            failed: Vec::new(),
            issued: Vec::new(),
            attempts: Vec::new(),
            retry_after: None,
            refusals: 0,
            lifetime: Duration::from_hours(90 * 24),
            without_renewal_info: false,
            down_until: None,
        }
    }

    pub fn record(&self) -> &OrderRecord {
        self.record.as_ref().unwrap()
    }

    pub fn take_record(&mut self) -> OrderRecord {
        self.record.take().unwrap()
    }

    pub fn set_record(&mut self, record: OrderRecord) {
        self.record = Some(record);
    }

    pub fn facts(&self) -> crate::certs::progress::Facts {
        self.record().progress().certificate.unwrap()
    }

    fn fate(&mut self) -> u8 {
        self.fate.next().unwrap_or(0)
    }

    /// Continues a waiting name at its time, or does the work of a running state.
    pub fn turn(&mut self) {
        let stored = serde_json::to_vec(self.record()).unwrap();
        let OrderRecord { name, state } = self.take_record();
        let mut commands = Vec::new();
        let mut unavailable = BTreeMap::new();
        let mut waited = false;
        let outcome = match state {
            State::Waiting(waiting) => {
                // A person corrects what is wrong, or believes so.
                if self.fate() % 8 == 7 {
                    commands.push(OrderCommand::RetryPreflight);
                } else {
                    waited = true;
                    self.now = self.now.max(waiting.until());
                    unavailable = self.unavailable();
                }
                Err(waiting)
            }
            State::Running(running) => Ok(self.perform(running, &stored)),
        };
        self.now = self.now.after(Duration::from_millis(50));
        // The process may end at any time; only what was stored remains.
        if self.fate() % 16 == 15 {
            self.set_record(serde_json::from_slice(&stored).unwrap());
            // It ended before it could remember.
            self.retry_after = None;
            return;
        }
        let moment = Moment { now: self.now, random: u64::from(self.fate()) };
        let (record, effects) = match outcome {
            Ok(outcome) => advance(name, outcome, &commands, &self.rules, moment),
            Err(waiting) => (resume(name, waiting, &commands, &unavailable, &self.rules, moment), Vec::new()),
        };
        if effects.contains(&OrderEffect::StoreCertificate) {
            self.issued.push(self.now);
        }
        if let (true, State::Waiting(waiting)) = (waited, &record.state) {
            assert!(waiting.until() > self.now, "it waits for nothing: {waiting:?}");
        }
        self.set_record(record);
    }

    /// Other names find the first directory unreachable from time to time.
    fn unavailable(&mut self) -> BTreeMap<String, DirectoryBackoff> {
        if self.fate() % 8 != 7 {
            return BTreeMap::new();
        }
        let until = self.now.after(Duration::from_mins(u64::from(self.fate())));
        let backoff = DirectoryBackoff { until, why: AcmeError::new(Kind::Unreachable, "no answer for anybody.") };
        BTreeMap::from([(self.rules.directories[0].clone(), backoff)])
    }

    /// `stored`: the record as it was stored before.
    fn perform(&mut self, running: Running, stored: &[u8]) -> Outcome {
        let request = running.directory().is_some();
        if request && self.down_until.is_some_and(|until| self.now < until) {
            return failed(running, AcmeError::new(Kind::Unreachable, "no answer."));
        }
        let failure = match self.fate() {
            250.. => Some(AcmeError::new(Kind::Unreachable, "reset.")),
            240..250 => Some(AcmeError::new(Kind::Unwell, "503.")),
            230..240 => {
                let mut error = AcmeError::new(Kind::RateLimited, "429.");
                let wait = Duration::from_secs(u64::from(self.fate()) * 30);
                error.retry_after = Some(wait);
                Some(error)
            }
            225..230 => Some(AcmeError::new(Kind::AccountGone, "no such account.")),
            220..225 => Some(AcmeError::new(Kind::Refused, "no.")),
            _ => None,
        };
        // Only requests fail like this.
        let Some(error) = failure.filter(|_| request) else { return self.carry_out(running, stored) };
        let before_order = matches!(running, Running::OpeningAccount(_) | Running::PlacingOrder(_));
        if let (Kind::RateLimited, Some(wait), true) = (error.kind, error.retry_after, before_order) {
            self.retry_after = Some(self.now.after(wait));
        }
        self.refusals += usize::from(!error.passes());
        // The request may have been carried out all the same.
        if !before_order && self.fate().is_multiple_of(2) {
            let outcome = self.carry_out(running, stored);
            return failed(state_of(outcome), error);
        }
        failed(running, error)
    }

    pub fn carry_out(&mut self, running: Running, stored: &[u8]) -> Outcome {
        match running {
            Running::CheckingReachability(state) => {
                let fate = self.fate();
                let result = |n: usize| match fate % 8 {
                    5 => elsewhere(),
                    6 if n == 0 => elsewhere(),
                    7 => Reachability::Unknown("cannot be reached".into()),
                    _ => Reachability::Here,
                };
                let results = state.methods().iter().enumerate().map(|(n, method)| (*method, result(n))).collect();
                Outcome::ReachabilityChecked(state, results)
            }
            Running::OpeningAccount(state) => {
                if let Some(until) = self.retry_after.take() {
                    assert!(self.now >= until, "asked {:?} before it was time", self.now.until(until));
                }
                self.attempts.push(self.now);
                Outcome::AccountOpened(state, Ok(()))
            }
            Running::PlacingOrder(state) => {
                if state.replaces().is_some() && self.fate() % 3 == 1 {
                    return Outcome::OrderPlaced(state, Err(AcmeError::new(Kind::AlreadyReplaced, "replaced.")));
                }
                let names = state.names().to_vec();
                let authorizations = names.iter().map(|_| match self.fate() % 4 {
                    1 => AuthorizationStatus::Valid,
                    _ => AuthorizationStatus::Pending,
                });
                let authorizations: Vec<_> = authorizations.collect();
                let ready = authorizations.iter().all(|status| *status == AuthorizationStatus::Valid);
                let status = if ready { OrderStatus::Ready } else { OrderStatus::Pending };
                self.orders.push(TheirOrder { names, status, authorizations, answered: false });
                let index = self.orders.len() - 1;
                Outcome::OrderPlaced(state, Ok(self.view(index)))
            }
            Running::PollingOrder(state) => {
                self.now = self.now.max(state.not_before());
                let index = index(state.order());
                self.evolve(index);
                Outcome::OrderPolled(state, Ok(self.view(index)))
            }
            Running::ReadingAuthorizations(state) => {
                let order = &self.orders[index(state.order())];
                let views = order.names.iter().zip(&order.authorizations).map(|(name, status)| AuthorizationView {
                    name: name.clone(),
                    status: *status,
                    challenges: vec![(Method::Http01, true), (Method::Dns01, true), (Method::TlsAlpn01, true)],
                    error: None,
                });
                Outcome::AuthorizationsRead(state, Ok(views.collect()))
            }
            Running::AnsweringChallenges(state) => {
                let order = &mut self.orders[index(state.order())];
                assert!(!state.challenges().is_empty() || order.status != OrderStatus::Pending);
                order.answered = true;
                Outcome::ChallengesAnswered(state, Ok(()))
            }
            Running::GeneratingKey(state) => Outcome::KeyGenerated(state, Ok(sealed())),
            Running::Finalizing(state) => {
                let stored: OrderRecord = serde_json::from_slice(stored).unwrap();
                let State::Running(Running::PollingOrder(polling)) = stored.state else { panic!("{:?}", stored.state) };
                let key = polling.order().key.as_ref();
                assert_eq!(key, Some(state.key()), "the key is stored before the authority hears of it");
                let index = index(state.order());
                if self.orders[index].status == OrderStatus::Ready {
                    self.orders[index].status = OrderStatus::Processing;
                }
                Outcome::OrderFinalized(state, Ok(self.view(index)))
            }
            Running::Downloading(state) => {
                self.now = self.now.max(state.not_before());
                if self.fate() % 4 == 3 {
                    return Outcome::Downloaded(state, Err(AcmeError::new(Kind::Missing, "404.")));
                }
                let certificate = IssuedCertificate {
                    names: self.orders[index(state.order())].names.clone(),
                    not_before: self.now,
                    not_after: self.now.after(self.lifetime),
                    serial: format!("{:x}", self.issued.len()),
                    id: self.fate().is_multiple_of(2).then(|| "aki.serial".to_owned()),
                };
                Outcome::Downloaded(state, Ok(certificate))
            }
            Running::ReadingRenewalInfo(state) if self.without_renewal_info => {
                Outcome::RenewalInfoRead(state, Err(AcmeError::new(Kind::Unsupported, "no such thing.")))
            }
            Running::ReadingRenewalInfo(state) => {
                // Also a window that has passed.
                let start = self.now.before(Duration::from_hours(u64::from(self.fate())));
                let end = start.after(Duration::from_hours(48));
                Outcome::RenewalInfoRead(state, Ok(RenewalWindow { start, end, retry_after: None }))
            }
        }
    }

    /// What the authority does by itself.
    fn evolve(&mut self, index: usize) {
        let order = &mut self.orders[index];
        match order.status {
            OrderStatus::Pending if order.answered => {
                let fails = self.fate.next().unwrap_or(0) % 3 == 2;
                let status = if fails { AuthorizationStatus::Invalid } else { AuthorizationStatus::Valid };
                for authorization in &mut order.authorizations {
                    if *authorization == AuthorizationStatus::Pending {
                        *authorization = status;
                        if fails {
                            self.failed.push(self.now);
                        }
                    }
                }
                order.status = if fails { OrderStatus::Invalid } else { OrderStatus::Ready };
            }
            OrderStatus::Processing => order.status = OrderStatus::Valid,
            _ => {}
        }
    }

    fn view(&self, index: usize) -> OrderView {
        OrderView { url: index.to_string(), status: self.orders[index].status, error: None, retry_after: None }
    }

    /// Runs until the certificate is there, and says how long that took.
    pub fn until_issued(&mut self) -> Duration {
        let before = self.issued.len();
        let since = self.now;
        for _ in 0..2000 {
            self.turn();
            if self.issued.len() > before {
                return since.until(self.now);
            }
        }
        panic!("{:?}", self.record());
    }
}

fn index(placed: &PlacedOrder) -> usize {
    placed.url.parse().unwrap()
}

/// The request of this state fails.
pub fn failed(running: Running, error: AcmeError) -> Outcome {
    match running {
        Running::CheckingReachability(_) => panic!("it makes no request"),
        Running::OpeningAccount(state) => Outcome::AccountOpened(state, Err(error)),
        Running::PlacingOrder(state) => Outcome::OrderPlaced(state, Err(error)),
        Running::PollingOrder(state) => Outcome::OrderPolled(state, Err(error)),
        Running::ReadingAuthorizations(state) => Outcome::AuthorizationsRead(state, Err(error)),
        Running::AnsweringChallenges(state) => Outcome::ChallengesAnswered(state, Err(error)),
        Running::GeneratingKey(state) => Outcome::KeyGenerated(state, Err(error)),
        Running::Finalizing(state) => Outcome::OrderFinalized(state, Err(error)),
        Running::Downloading(state) => Outcome::Downloaded(state, Err(error)),
        Running::ReadingRenewalInfo(state) => Outcome::RenewalInfoRead(state, Err(error)),
    }
}

fn state_of(outcome: Outcome) -> Running {
    match outcome {
        Outcome::ReachabilityChecked(state, _) => Running::CheckingReachability(state),
        Outcome::AccountOpened(state, _) => Running::OpeningAccount(state),
        Outcome::OrderPlaced(state, _) => Running::PlacingOrder(state),
        Outcome::OrderPolled(state, _) => Running::PollingOrder(state),
        Outcome::AuthorizationsRead(state, _) => Running::ReadingAuthorizations(state),
        Outcome::ChallengesAnswered(state, _) => Running::AnsweringChallenges(state),
        Outcome::KeyGenerated(state, _) => Running::GeneratingKey(state),
        Outcome::OrderFinalized(state, _) => Running::Finalizing(state),
        Outcome::Downloaded(state, _) => Running::Downloading(state),
        Outcome::RenewalInfoRead(state, _) => Running::ReadingRenewalInfo(state),
    }
}
