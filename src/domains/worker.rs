//! The worker: checks each domain when that is due, and copies changes of certificates into the claims.
//!
//! All state that must survive is in the claims, so a worker that is killed loses nothing: the next one finds what is
//! due and repeats the orders of certificates.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::task::{Id, JoinError, JoinSet};

use super::driver::{Domains, MAX_CONCURRENT_CHECKS};
use crate::hostname::Hostname;
use crate::tenancy::{Claim, RequestContext};
use crate::timestamp::Timestamp;

/// The clock may be set at any time, which nothing reports; so the claims are read again after this time.
const MAX_SLEEP: Duration = Duration::from_mins(1);
const COALESCE_DELAY: Duration = Duration::from_millis(200);
const RETRY_DELAY: Duration = Duration::from_secs(30);

impl Domains {
    /// Runs until the platform is closed. Spawn it as a task.
    pub async fn run(self) {
        let mut changes = self.0.platform.changes();
        let mut certificate_changes = self.0.certificates.changes();
        let mut sweeps = self.0.sweeps.subscribe();
        let mut state = WorkerState::new(self.clone());
        self.order_all();
        for claim in self.0.platform.claims() {
            state.update_certificate(&claim.domain).await;
        }
        self.0.certificates.sweep().await;
        loop {
            let pause = state.start_due_checks().await;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                Some(done) = state.running.join_next_with_id(), if !state.running.is_empty() => state.done(done),
                // Never fails: `self` holds the sender.
                _ = sweeps.changed() => state.sweep(),
                change = changes.changed() => match change {
                    // Changes in quick succession are handled together.
                    Ok(()) => tokio::time::sleep(COALESCE_DELAY).await,
                    Err(_) => return,
                },
                name = certificate_changes.recv() => match name {
                    Ok(domain) => state.update_certificate(&domain).await,
                    Err(RecvError::Lagged(_)) => for claim in self.0.platform.claims() {
                        state.update_certificate(&claim.domain).await;
                    },
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }
}

struct WorkerState {
    domains: Domains,
    running: JoinSet<()>,
    names: HashMap<Id, Hostname>,
    /// Domains to check without regard to their schedule.
    requested: VecDeque<Hostname>,
    /// The domains that were claimed when the claims were last read.
    claimed: HashSet<Hostname>,
}

impl WorkerState {
    fn new(domains: Domains) -> Self {
        Self {
            domains,
            running: JoinSet::new(),
            names: HashMap::new(),
            requested: VecDeque::new(),
            claimed: HashSet::new(),
        }
    }

    fn sweep(&mut self) {
        self.requested = self.domains.0.platform.claims().iter().map(|claim| claim.domain.clone()).collect();
    }

    /// Starts as many due checks as may run at the same time. Returns the time until another one is due.
    async fn start_due_checks(&mut self) -> Duration {
        let claims = self.domains.0.platform.claims();
        self.release_unclaimed(&claims).await;
        let now = Timestamp::now();
        let mut pause = MAX_SLEEP;
        for claim in claims {
            let due = claim.next_check_at.unwrap_or(now);
            if now < due {
                pause = pause.min(now.until(due));
            } else if self.running.len() < MAX_CONCURRENT_CHECKS
                && !self.names.values().any(|name| *name == claim.domain)
            {
                self.start(claim.domain.clone(), false);
            }
        }
        while self.running.len() < MAX_CONCURRENT_CHECKS
            && let Some(domain) = self.requested.pop_front()
        {
            self.start(domain, true);
        }
        pause
    }

    fn start(&mut self, domain: Hostname, requested: bool) {
        let domains = self.domains.clone();
        let name = domain.clone();
        let task = self.running.spawn(async move {
            let looked = if requested {
                domains.sync(&RequestContext::of_bitcall(), &domain).await.map(|_| ())
            } else {
                domains.check_if_due(&domain).await
            };
            if let Err(error) = looked {
                tracing::warn!(%domain, %error, "a domain could not be looked at");
                // The check is still due, so wait before it is tried again.
                tokio::time::sleep(RETRY_DELAY).await;
            }
        });
        self.names.insert(task.id(), name);
    }

    fn done(&mut self, done: Result<(Id, ()), JoinError>) {
        let id = done.map_or_else(|error| error.id(), |(id, ())| id);
        self.names.remove(&id);
    }

    async fn update_certificate(&self, domain: &Hostname) {
        if let Err(error) = self.domains.update_certificate(domain).await {
            tracing::warn!(%domain, %error, "the news of a certificate could not be kept");
        }
    }

    /// Releases the certificates of domains that are not claimed any more.
    async fn release_unclaimed(&mut self, claims: &[Arc<Claim>]) {
        let claimed: HashSet<_> = claims.iter().map(|claim| claim.domain.clone()).collect();
        for gone in self.claimed.difference(&claimed) {
            self.domains.0.certificates.release(gone).await;
        }
        self.claimed = claimed;
    }
}
