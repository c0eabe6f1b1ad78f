//! The model of a certificate authority.

use super::super::*;
use super::{START, elsewhere, sealed};

/// Courses with a clock and the model of an authority.
pub struct World {
    pub rules: Rules,
    pub course: OrderState,
    pub now: Timestamp,
    pub next: Effect,
    pub orders: Vec<TheirOrder>,
    /// One number decides one answer; when they are used up everything goes well.
    pub fate: std::vec::IntoIter<u8>,
    pub failed: Vec<Timestamp>,
    pub issued: Vec<Timestamp>,
    pub attempts: Vec<Timestamp>,
    pub told_to_wait: Option<Timestamp>,
    /// How often the authority gave a reason to drop an order.
    pub refusals: usize,
    pub life: Duration,
    /// It suggests no time for renewals.
    pub silent: bool,
    /// Until then nobody reaches it.
    pub down_until: Option<Timestamp>,
}

#[derive(Debug)]
pub struct TheirOrder {
    pub names: Vec<String>,
    pub status: OrderStatus,
    pub authorizations: Vec<AuthorizationStatus>,
    pub told: bool,
}

impl World {
    pub fn new(rules: Rules, wanted: Wanted, fate: Vec<u8>) -> Self {
        let course = OrderState::new(wanted, START);
        let next = course.pending(&rules);
        Self {
            rules,
            course,
            now: START,
            next,
            orders: Vec::new(),
            fate: fate.into_iter(),
            failed: Vec::new(),
            issued: Vec::new(),
            attempts: Vec::new(),
            told_to_wait: None,
            refusals: 0,
            life: Duration::from_hours(90 * 24),
            silent: false,
            down_until: None,
        }
    }

    fn fate(&mut self) -> u8 {
        self.fate.next().unwrap_or(0)
    }

    /// Carries out what is pending.
    pub fn turn(&mut self) {
        let event = match self.next.clone() {
            // Somebody mends what is wrong, or believes so.
            Effect::WaitReason(_) if self.fate() % 8 == 7 => Event::RetryPreflight,
            Effect::WaitReason(until) => {
                self.now = self.now.max(until);
                Event::Due(self.closed())
            }
            effect => self.perform(effect),
        };
        let rested = matches!(event, Event::Due(_));
        self.now = self.now.after(Duration::from_millis(50));
        // The process may end at any time; what was stored is all that is left.
        if self.fate() % 16 == 15 {
            let stored = serde_json::to_vec(&self.course).unwrap();
            self.course = serde_json::from_slice(&stored).unwrap();
            self.next = self.course.pending(&self.rules);
            // It died before it could remember.
            self.told_to_wait = None;
            return;
        }
        let dice = u64::from(self.fate());
        let moment = Moment { now: self.now, dice };
        let (course, effects) = step(self.course.clone(), event, &self.rules, moment);
        self.course = course;
        if effects.contains(&Effect::Keep) {
            self.issued.push(self.now);
        }
        self.next = effects.last().cloned().unwrap();
        if let (true, State::Resting { until, .. }) = (rested, &self.course.state) {
            assert!(*until > self.now, "a rest that is none: {:?}", self.course.state);
        }
    }

    /// Others find the first directory closed from time to time.
    fn closed(&mut self) -> BTreeMap<String, DirectoryBackoff> {
        if self.fate() % 8 != 7 {
            return BTreeMap::new();
        }
        let until = self.now.after(Duration::from_mins(u64::from(self.fate())));
        let closed = DirectoryBackoff { until, why: AcmeError::new(Kind::Unreachable, "no answer for anybody.") };
        BTreeMap::from([(self.rules.directories[0].clone(), closed)])
    }

    fn perform(&mut self, effect: Effect) -> Event {
        let request = !matches!(effect, Effect::CheckReachability { .. } | Effect::MakeKey(_));
        if request && self.down_until.is_some_and(|until| self.now < until) {
            return Event::Failed(AcmeError::new(Kind::Unreachable, "no answer."));
        }
        let failure = match self.fate() {
            250.. => Some(AcmeError::new(Kind::Unreachable, "reset.")),
            240..250 => Some(AcmeError::new(Kind::Unwell, "503.")),
            230..240 => {
                let mut trouble = AcmeError::new(Kind::RateLimited, "429.");
                let wait = Duration::from_secs(u64::from(self.fate()) * 30);
                trouble.retry_after = Some(wait);
                Some(trouble)
            }
            225..230 => Some(AcmeError::new(Kind::AccountGone, "no such account.")),
            220..225 => Some(AcmeError::new(Kind::Refused, "no.")),
            _ => None,
        };
        if let Some(trouble) = failure
            // Everything but a rest is a request, or the making of a key, which does not fail like this.
            && request
        {
            let ordering = matches!(effect, Effect::Open { .. } | Effect::Place { .. });
            // The request may have been carried out all the same.
            if !ordering && self.fate().is_multiple_of(2) {
                let _ = self.carried_out(effect);
            }
            if let (Kind::RateLimited, Some(wait), true) = (trouble.kind, trouble.retry_after, ordering) {
                self.told_to_wait = Some(self.now.after(wait));
            }
            self.refusals += usize::from(!trouble.passes());
            return Event::Failed(trouble);
        }
        self.carried_out(effect)
    }

    pub fn carried_out(&mut self, effect: Effect) -> Event {
        match effect {
            Effect::CheckReachability { methods } => {
                let fate = self.fate();
                let seen = |n: usize| match fate % 8 {
                    5 => elsewhere(),
                    6 if n == 0 => elsewhere(),
                    7 => Reachability::Unknown("cannot be reached".into()),
                    _ => Reachability::Here,
                };
                Event::Looked(methods.iter().enumerate().map(|(n, method)| (*method, seen(n))).collect())
            }
            Effect::Open { .. } => {
                if let Some(until) = self.told_to_wait.take() {
                    assert!(self.now >= until, "asked {:?} before it was time", self.now.until(until));
                }
                self.attempts.push(self.now);
                Event::OpenedAccount
            }
            Effect::Place { names, replaces, .. } => {
                if replaces.is_some() && self.fate() % 3 == 1 {
                    return Event::Failed(AcmeError::new(Kind::AlreadyReplaced, "replaced."));
                }
                let authorizations = names.iter().map(|_| match self.fate() % 4 {
                    1 => AuthorizationStatus::Valid,
                    _ => AuthorizationStatus::Pending,
                });
                let authorizations: Vec<_> = authorizations.collect();
                let ready = authorizations.iter().all(|status| *status == AuthorizationStatus::Valid);
                let status = if ready { OrderStatus::Ready } else { OrderStatus::Pending };
                self.orders.push(TheirOrder { names, status, authorizations, told: false });
                let index = self.orders.len() - 1;
                Event::Order(self.view(index))
            }
            Effect::Review { placed, at } => {
                self.now = self.now.max(at);
                let index = index(&placed);
                self.evolve(index);
                Event::Order(self.view(index))
            }
            Effect::Authorizations(placed) => {
                let order = &self.orders[index(&placed)];
                let views = order.names.iter().zip(&order.authorizations).map(|(name, status)| AuthorizationView {
                    name: name.clone(),
                    status: *status,
                    offers: vec![(Method::Http01, true), (Method::Dns01, true), (Method::TlsAlpn01, true)],
                    error: None,
                });
                Event::Authorizations(views.collect())
            }
            Effect::Answer { placed, answers } => {
                assert!(!answers.is_empty() || self.orders[index(&placed)].status != OrderStatus::Pending);
                self.orders[index(&placed)].told = true;
                Event::Answered
            }
            Effect::MakeKey(_) => Event::KeyMade(sealed()),
            Effect::Finalize(placed) => {
                assert!(placed.key.is_some());
                let kept: OrderState = serde_json::from_slice(&serde_json::to_vec(&self.course).unwrap()).unwrap();
                let State::Reviewing { placed: kept, .. } = kept.state else { panic!("{:?}", kept.state) };
                assert_eq!(kept.key, placed.key, "the key is stored before the authority hears of it");
                let index = index(&placed);
                if self.orders[index].status == OrderStatus::Ready {
                    self.orders[index].status = OrderStatus::Processing;
                }
                Event::Order(self.view(index))
            }
            Effect::Collect { placed, at } => {
                self.now = self.now.max(at);
                if self.fate() % 4 == 3 {
                    return Event::Failed(AcmeError::new(Kind::Missing, "404."));
                }
                Event::Collected(Collected {
                    names: self.orders[index(&placed)].names.clone(),
                    not_before: self.now,
                    not_after: self.now.after(self.life),
                    serial: format!("{:x}", self.issued.len()),
                    id: self.fate().is_multiple_of(2).then(|| "aki.serial".to_owned()),
                })
            }
            Effect::Ask { .. } if self.silent => Event::Failed(AcmeError::new(Kind::Unsupported, "no such thing.")),
            Effect::Ask { .. } => {
                // Also a window that has passed.
                let start = self.now.before(Duration::from_hours(u64::from(self.fate())));
                Event::Suggested { start, end: start.after(Duration::from_hours(48)), ask_again: None }
            }
            other => panic!("{other:?}"),
        }
    }

    /// What the authority does by itself.
    fn evolve(&mut self, index: usize) {
        let order = &mut self.orders[index];
        match order.status {
            OrderStatus::Pending if order.told => {
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
        panic!("{:?}", self.course);
    }
}

fn index(placed: &PlacedOrder) -> usize {
    placed.url.parse().unwrap()
}
