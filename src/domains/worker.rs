//! The worker: looks at each domain when that is due, and takes in the news of certificates.
//!
//! Everything that must survive is in the claims themselves, so a worker that is
//! killed loses nothing: the next one finds what is due and says again which
//! certificates are wanted.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::task::{Id, JoinError, JoinSet};

use super::pass::{Domains, PARALLEL};
use crate::hostname::Hostname;
use crate::tenancy::{Claim, RequestContext};
use crate::timestamp::Timestamp;

/// Also where nothing tells: a clock may be set.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
const CHANGES_PAUSE: Duration = Duration::from_millis(200);
const AFTER_FAILURE: Duration = Duration::from_secs(30);

impl Domains {
    /// For ever. For a task of its own.
    pub async fn keep(self) {
        let mut changes = self.0.platform.changes();
        let mut news = self.0.certificates.news();
        let mut sweeps = self.0.sweeps.subscribe();
        let mut rounds = Rounds::new(self.clone());
        self.want_all();
        for claim in self.0.platform.claims() {
            rounds.heed(&claim.domain).await;
        }
        self.0.certificates.sweep().await;
        loop {
            let pause = rounds.start_what_is_due().await;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                Some(done) = rounds.under_way.join_next_with_id(), if !rounds.under_way.is_empty() => rounds.done(done),
                // The handle here keeps the sender.
                _ = sweeps.changed() => rounds.sweep(),
                change = changes.changed() => match change {
                    // Many changes at once are one.
                    Ok(()) => tokio::time::sleep(CHANGES_PAUSE).await,
                    Err(_) => return,
                },
                name = news.recv() => match name {
                    Ok(domain) => rounds.heed(&domain).await,
                    Err(RecvError::Lagged(_)) => for claim in self.0.platform.claims() {
                        rounds.heed(&claim.domain).await;
                    },
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }
}

struct Rounds {
    domains: Domains,
    under_way: JoinSet<()>,
    names: HashMap<Id, Hostname>,
    /// Those to be looked at whether it is due or not.
    asked_for: VecDeque<Hostname>,
    /// Those that were claimed at the last round.
    claimed: HashSet<Hostname>,
}

impl Rounds {
    fn new(domains: Domains) -> Self {
        Self {
            domains,
            under_way: JoinSet::new(),
            names: HashMap::new(),
            asked_for: VecDeque::new(),
            claimed: HashSet::new(),
        }
    }

    fn sweep(&mut self) {
        self.asked_for = self.domains.0.platform.claims().iter().map(|claim| claim.domain.clone()).collect();
    }

    /// Starts as many looks as may be under way. How long nothing else is due.
    async fn start_what_is_due(&mut self) -> Duration {
        let claims = self.domains.0.platform.claims();
        self.release_what_is_gone(&claims).await;
        let now = Timestamp::now();
        let mut pause = LONGEST_PAUSE;
        for claim in claims {
            let due = claim.next_check_at.unwrap_or(now);
            if now < due {
                pause = pause.min(now.until(due));
            } else if self.under_way.len() < PARALLEL && !self.names.values().any(|name| *name == claim.domain) {
                self.start(claim.domain.clone(), false);
            }
        }
        while self.under_way.len() < PARALLEL
            && let Some(domain) = self.asked_for.pop_front()
        {
            self.start(domain, true);
        }
        pause
    }

    fn start(&mut self, domain: Hostname, asked_for: bool) {
        let domains = self.domains.clone();
        let name = domain.clone();
        let task = self.under_way.spawn(async move {
            let looked = if asked_for {
                domains.sync(&RequestContext::of_bitcall(), &domain).await.map(|_| ())
            } else {
                domains.check(&domain).await
            };
            if let Err(error) = looked {
                tracing::warn!(%domain, %error, "a domain could not be looked at");
                // It is still due.
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        });
        self.names.insert(task.id(), name);
    }

    fn done(&mut self, done: Result<(Id, ()), JoinError>) {
        let id = done.map_or_else(|error| error.id(), |(id, ())| id);
        self.names.remove(&id);
    }

    async fn heed(&self, domain: &Hostname) {
        if let Err(error) = self.domains.heed_certificate(domain).await {
            tracing::warn!(%domain, %error, "the news of a certificate could not be kept");
        }
    }

    /// A domain that was given up needs no certificate.
    async fn release_what_is_gone(&mut self, claims: &[Arc<Claim>]) {
        let claimed: HashSet<_> = claims.iter().map(|claim| claim.domain.clone()).collect();
        for gone in self.claimed.difference(&claimed) {
            self.domains.0.certificates.release(gone).await;
        }
        self.claimed = claimed;
    }
}
