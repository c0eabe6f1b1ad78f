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

use super::driver::{Domains, MAX_CONCURRENT_CHECKS};
use crate::hostname::Hostname;
use crate::tenancy::{Claim, RequestContext};
use crate::timestamp::Timestamp;

/// Also where nothing tells: a clock may be set.
const MAX_SLEEP: Duration = Duration::from_mins(1);
const COALESCE_DELAY: Duration = Duration::from_millis(200);
const RETRY_DELAY: Duration = Duration::from_secs(30);

impl Domains {
    /// For ever. For a task of its own.
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
                // The handle here keeps the sender.
                _ = sweeps.changed() => state.sweep(),
                change = changes.changed() => match change {
                    // Many changes at once are one.
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
    /// Those to be looked at whether it is due or not.
    requested: VecDeque<Hostname>,
    /// Those that were claimed at the last round.
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

    /// Starts as many looks as may be under way. How long nothing else is due.
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
                // It is still due.
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

    /// A domain that was given up needs no certificate.
    async fn release_unclaimed(&mut self, claims: &[Arc<Claim>]) {
        let claimed: HashSet<_> = claims.iter().map(|claim| claim.domain.clone()).collect();
        for gone in self.claimed.difference(&claimed) {
            self.domains.0.certificates.release(gone).await;
        }
        self.claimed = claimed;
    }
}
