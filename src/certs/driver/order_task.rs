//! Drives the order of one name until it waits again.
//!
//! Each state is stored before its work is done, so that the record never falls behind what the authority was told.
//! Where storing fails, or another appliance has written the record, the state in hand is dropped and the task ends:
//! the next one reads the record again. Commands stay in the name's inbox until the state they led to is stored.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use instant_acme::Order;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::{Certs, CertsShared};
use crate::certs::acme_error::{AcmeError, Kind};
use crate::certs::certificate_store::{CertificateOrigin, PreparedCertificate};
use crate::certs::challenges::PublishedChallenges;
use crate::certs::client::{self, AccountSession};
use crate::certs::keys;
use crate::certs::leases::{LEASE_TTL, LeaseOutcome};
use crate::certs::order::{
    ChosenChallenge, DirectoryBackoff, IssuedCertificate, Method, OrderCommand, OrderEffect, OrderRecord, OrderView,
    Outcome, PlacedOrder, PlacingOrder, Reachability, Running, State, advance, resume,
};
use crate::certs::preflight;
use crate::certs::progress::Progress;
use crate::certs::sealed::{Seal, Sealed};
use crate::hostname::Hostname;
use crate::store::keys::order_key;
use crate::store::{self, Batch, Revision, decode, encode};
use crate::timestamp::Timestamp;

/// How often the record is read of a name whose lease another appliance has.
const FOREIGN_ORDER_POLL_INTERVAL: Duration = Duration::from_secs(3);
/// How long a name waits after the store failed.
const STORE_RETRY_DELAY: Duration = Duration::from_secs(10);

/// What the driver holds of a name while it drives the order.
struct OrderTask<'a> {
    inner: &'a CertsShared,
    name: Hostname,
    /// That of the name's entry in the schedule.
    number: u64,
    /// The stored record's revision; none where there is no record yet.
    revision: Option<Revision>,
    /// The stored record's bytes.
    stored: Vec<u8>,
    lease_until: Timestamp,
    order: Option<Order>,
    challenges: Option<PublishedChallenges>,
    certificate: Option<PreparedCertificate>,
}

/// Why a name is not driven further for now.
enum End {
    /// Its order waits.
    Waiting,
    /// Another appliance drives it, up to then at least.
    Postponed(Timestamp),
    /// It was released, or another appliance has written its record.
    Gone,
}

impl Certs {
    pub(super) async fn drive_due(self, name: Hostname, number: u64) {
        // A task of its own, so that a panic is handled like any other failure: the name is tried again.
        let task = tokio::spawn({
            let (this, name) = (self.clone(), name.clone());
            async move { this.drive_leased(&name, number).await }
        });
        let panicked = |error| Err(store::Error::Failed(format!("it broke off: {error}")));
        let end = task.await.unwrap_or_else(panicked);
        let mut schedule = self.schedule();
        // A later entry of the name has a task of its own.
        let Some(entry) = schedule.entry(&name, number) else { return };
        entry.running = false;
        match end {
            Ok(End::Waiting | End::Gone) => schedule.plan(&name),
            Ok(End::Postponed(until)) => schedule.set_due(&name, Some(until)),
            Err(error) => {
                tracing::error!(%name, %error, "the way to the certificate is interrupted");
                schedule.set_due(&name, Some(Self::moment().about(STORE_RETRY_DELAY)));
            }
        }
        drop(schedule);
        self.0.wake.notify_one();
    }

    async fn drive_leased(&self, name: &Hostname, number: u64) -> Result<End, store::Error> {
        let inner = &*self.0;
        let key = order_key(name);
        let lease_until = match inner.leases.take(name, Timestamp::now()).await? {
            LeaseOutcome::Ours(until) => until,
            LeaseOutcome::Theirs(until) => {
                if let Some(record) = inner.store.get(&key).await? {
                    self.adopt(name, number, &decode(&key, &record.bytes)?).await?;
                }
                return Ok(End::Postponed(Self::moment().about(FOREIGN_ORDER_POLL_INTERVAL).min(until)));
            }
        };
        let stored = inner.store.get(&key).await?;
        let Some(wanted) = self.schedule().entry(name, number).map(|entry| entry.wanted.clone()) else {
            inner.leases.release(name).await?;
            return Ok(End::Gone);
        };
        let (record, revision, stored) = match stored {
            Some(stored) => {
                let record = decode(&key, &stored.bytes)?;
                self.adopt(name, number, &record).await?;
                (record, Some(stored.revision), stored.bytes)
            }
            None => (OrderRecord::new(wanted, Timestamp::now()), None, Vec::new()),
        };
        let (order, challenges, certificate) = (None, None, None);
        let name = name.clone();
        let mut task = OrderTask { inner, name, number, revision, stored, lease_until, order, challenges, certificate };
        let end = self.drive(&mut task, record).await;
        inner.leases.release(&task.name).await?;
        end
    }

    /// Takes over a stored record, which another appliance may have written, and serves its certificate.
    async fn adopt(&self, name: &Hostname, number: u64, record: &OrderRecord) -> Result<(), store::Error> {
        let Some(known) = self.schedule().entry(name, number).map(|entry| serial(&entry.progress)) else {
            return Ok(());
        };
        let stored = serial(&record.progress());
        if stored.is_some() && known != stored {
            self.0.certificate_store.load(name.as_str()).await?;
        }
        self.publish(name, number, record, 0);
        Ok(())
    }

    async fn drive(&self, task: &mut OrderTask<'_>, mut record: OrderRecord) -> Result<End, store::Error> {
        let rules = &self.0.rules;
        loop {
            let OrderRecord { name, state } = record;
            let (commands, effects);
            (record, commands, effects) = match state {
                State::Waiting(waiting) => {
                    let Some(commands) = self.commands(task) else { return Ok(End::Gone) };
                    let unavailable = task.unavailable_directories();
                    let record = resume(name, waiting, &commands, &unavailable, rules, Self::moment());
                    (record, commands.len(), Vec::new())
                }
                State::Running(running) => {
                    if !task.prolong().await? {
                        return Ok(End::Postponed(Self::moment().about(FOREIGN_ORDER_POLL_INTERVAL)));
                    }
                    let outcome = task.perform(running, name.certificate.is_none()).await;
                    let Some(commands) = self.commands(task) else { return Ok(End::Gone) };
                    let (record, effects) = advance(name, outcome, &commands, rules, Self::moment());
                    (record, commands.len(), effects)
                }
            };
            if !task.store(&record, effects.contains(&OrderEffect::StoreCertificate)).await? {
                return Ok(End::Gone);
            }
            for effect in effects {
                match effect {
                    OrderEffect::StoreCertificate => task.serve(),
                    OrderEffect::WithdrawChallenges => task.challenges = None,
                    OrderEffect::ForgetAccount { directory } => self.0.accounts.forget(&directory).await?,
                }
            }
            if !self.publish(&task.name, task.number, &record, commands) {
                return Ok(End::Gone);
            }
            if record.due_at() > Timestamp::now() {
                return Ok(End::Waiting);
            }
        }
    }

    /// The commands in the name's inbox, where they stay; none where the name was released.
    fn commands(&self, task: &OrderTask<'_>) -> Option<Vec<OrderCommand>> {
        self.schedule().entry(&task.name, task.number).map(|entry| entry.inbox.clone())
    }

    /// Makes a stored record known, and removes the first `commands` from the inbox: it contains what they led to.
    /// False where the name was released.
    fn publish(&self, name: &Hostname, number: u64, record: &OrderRecord, commands: usize) -> bool {
        let mut schedule = self.schedule();
        let Some(entry) = schedule.entry(name, number) else { return false };
        entry.inbox.drain(..commands);
        let before = entry.set_record(record);
        let now = entry.progress.clone();
        drop(schedule);
        if before != now {
            report(name, &before, &now);
            self.notify(name);
        }
        true
    }
}

impl OrderTask<'_> {
    /// Directories that are not used now, by any name.
    fn unavailable_directories(&self) -> BTreeMap<String, DirectoryBackoff> {
        let backoff = |directory: &String| Some((directory.clone(), self.inner.accounts.backoff(directory)?));
        self.inner.rules.directories.iter().filter_map(backoff).collect()
    }

    /// Stores the record if it has changed, with the certificate where there is one to store. False if another
    /// appliance has written the record.
    async fn store(&mut self, record: &OrderRecord, with_certificate: bool) -> Result<bool, store::Error> {
        let bytes = encode(record)?;
        if bytes == self.stored && !with_certificate {
            return Ok(true);
        }
        let key = order_key(&self.name);
        let batch = match self.revision {
            Some(revision) => Batch::new().require_revision(&key, revision),
            None => Batch::new().require_absent(&key),
        };
        let mut batch = batch.put(&key, bytes.clone());
        if let Some(certificate) = self.certificate.as_ref().filter(|_| with_certificate) {
            batch = certificate.put_into(batch);
        }
        match self.inner.store.commit(batch).await {
            Ok(revision) => {
                (self.revision, self.stored) = (Some(revision), bytes);
                Ok(true)
            }
            Err(store::Error::Conflict(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Serves the certificate that was just stored.
    fn serve(&mut self) {
        if let Some(certificate) = self.certificate.take() {
            self.inner.certificate_store.show(certificate);
        }
    }

    /// Keeps the lease for the time of the next work. False if another appliance has it.
    async fn prolong(&mut self) -> Result<bool, store::Error> {
        let now = Timestamp::now();
        if now.until(self.lease_until) > LEASE_TTL / 2 {
            return Ok(true);
        }
        match self.inner.leases.take(&self.name, now).await? {
            LeaseOutcome::Ours(until) => {
                self.lease_until = until;
                Ok(true)
            }
            LeaseOutcome::Theirs(_) => Ok(false),
        }
    }

    /// Does what a state asks for. `first`: the name has no certificate yet.
    async fn perform(&mut self, running: Running, first: bool) -> Outcome {
        if let Some(at) = running.not_before() {
            tokio::time::sleep(Timestamp::now().until(at)).await;
        }
        let _permit = match running.directory() {
            Some(directory) => self.inner.accounts.permit(directory).await,
            None => None,
        };
        match running {
            Running::CheckingReachability(state) => {
                let results = self.check_reachability(state.methods()).await;
                Outcome::ReachabilityChecked(state, results)
            }
            Running::OpeningAccount(state) => {
                let result = self.session(state.directory()).await.map(|_| ());
                Outcome::AccountOpened(state, result)
            }
            Running::PlacingOrder(state) => {
                let result = self.place(&state, first).await;
                Outcome::OrderPlaced(state, result)
            }
            Running::PollingOrder(state) => {
                let result = self.poll(state.order()).await;
                Outcome::OrderPolled(state, result)
            }
            Running::ReadingAuthorizations(state) => {
                let result = match self.order(state.order()).await {
                    Ok(order) => client::authorizations(order).await,
                    Err(error) => Err(error),
                };
                Outcome::AuthorizationsRead(state, result)
            }
            Running::AnsweringChallenges(state) => {
                let result = self.answer(state.order(), state.challenges()).await;
                Outcome::ChallengesAnswered(state, result)
            }
            Running::GeneratingKey(state) => Outcome::KeyGenerated(state, self.generate_key()),
            Running::Finalizing(state) => {
                let result = self.finalize(state.order(), state.key()).await;
                Outcome::OrderFinalized(state, result)
            }
            Running::Downloading(state) => {
                let result = self.download(state.order(), state.key(), first).await;
                Outcome::Downloaded(state, result)
            }
            Running::ReadingRenewalInfo(state) => {
                let result = match self.session(state.directory()).await {
                    Ok(session) => session.renewal_info(state.certificate_id()).await,
                    Err(error) => Err(error),
                };
                Outcome::RenewalInfoRead(state, result)
            }
        }
    }

    async fn check_reachability(&self, methods: &[Method]) -> Vec<(Method, Reachability)> {
        let inner = self.inner;
        let resolver = inner.certificate_store.cert_resolver();
        let check = |method| preflight::check(&*inner.preflight, &inner.challenges, resolver, &self.name, method);
        let results = join_all(methods.iter().map(|method| check(*method))).await;
        for result in &results {
            if let Reachability::Unknown(why) = result {
                tracing::debug!(name = %self.name, why, "whether the name leads here cannot be told");
            }
        }
        methods.iter().copied().zip(results).collect()
    }

    async fn place(&mut self, state: &PlacingOrder, first: bool) -> Result<OrderView, AcmeError> {
        let directory = state.directory();
        let session = self.session(directory).await?;
        if first {
            self.inner.accounts.count_new_name(directory, &self.name, Timestamp::now()).await?;
        }
        self.inner.accounts.count_order(directory, Timestamp::now()).await?;
        let placed = session.place(state.names(), self.inner.profile.as_deref(), state.replaces()).await;
        self.note(directory, placed.as_ref().map(|_| ()));
        let (order, view) = placed?;
        self.order = Some(order);
        Ok(view)
    }

    async fn poll(&mut self, placed: &PlacedOrder) -> Result<OrderView, AcmeError> {
        if let Some(order) = &mut self.order {
            return client::refresh(order).await;
        }
        let (order, view) = self.session(&placed.directory).await?.order(&placed.url).await?;
        self.order = Some(order);
        Ok(view)
    }

    /// Publishes the answers before the authority hears of them: it may validate at once.
    async fn answer(&mut self, placed: &PlacedOrder, challenges: &[ChosenChallenge]) -> Result<(), AcmeError> {
        let responses = client::challenge_responses(self.order(placed).await?, challenges).await?;
        let inner = self.inner;
        self.challenges = Some(inner.challenges.publish(&responses, inner.certificate_store.cert_resolver())?);
        client::respond(self.order(placed).await?, challenges).await
    }

    fn generate_key(&self) -> Result<Sealed, AcmeError> {
        let sealed = self.seal()?.seal(&order_key(&self.name), keys::generate()?);
        sealed.map_err(|error| internal(format!("The key cannot be sealed: {error}.")))
    }

    async fn finalize(&mut self, placed: &PlacedOrder, key: &Sealed) -> Result<OrderView, AcmeError> {
        let request = keys::request(&self.unseal(key)?, &placed.names)?;
        client::finalize(self.order(placed).await?, &request).await
    }

    async fn download(
        &mut self,
        placed: &PlacedOrder,
        key: &Sealed,
        first: bool,
    ) -> Result<IssuedCertificate, AcmeError> {
        let pem = client::download(self.order(placed).await?).await?;
        let issued = self.check(placed, key, &pem)?;
        if first {
            self.inner.accounts.new_name_issued(&placed.directory, &self.name, Timestamp::now()).await?;
        }
        Ok(issued)
    }

    /// Checks a downloaded certificate and prepares it to be stored.
    fn check(&mut self, placed: &PlacedOrder, key: &Sealed, pem: &str) -> Result<IssuedCertificate, AcmeError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let chain = chain.unwrap_or_default();
        let id = chain.first().and_then(client::renewal_id);
        let origin = CertificateOrigin::Acme { directory: placed.directory.clone() };
        let key = self.unseal(key)?;
        let prepared =
            self.inner.certificate_store.prepare(self.name.as_str(), chain, key, origin).map_err(|error| {
                AcmeError::new(Kind::Refused, format!("The certificate that the authority has made {error}."))
            })?;
        let certificate = &prepared.kept;
        let issued = IssuedCertificate {
            names: certificate.names.clone(),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            serial: certificate.serial.clone(),
            id,
        };
        self.certificate = Some(prepared);
        Ok(issued)
    }

    async fn session(&self, directory: &str) -> Result<Arc<AccountSession>, AcmeError> {
        let session = self.inner.accounts.session(directory).await;
        self.note(directory, session.as_ref().map(|_| ()));
        session
    }

    fn note(&self, directory: &str, outcome: Result<(), &AcmeError>) {
        self.inner.accounts.note(directory, outcome, Certs::moment());
    }

    /// The client's handle of the order; after a restart it is read again.
    async fn order(&mut self, placed: &PlacedOrder) -> Result<&mut Order, AcmeError> {
        if self.order.is_none() {
            let (order, _) = self.session(&placed.directory).await?.order(&placed.url).await?;
            self.order = Some(order);
        }
        self.order.as_mut().ok_or_else(|| internal("There is no order.".into()))
    }

    fn unseal(&self, key: &Sealed) -> Result<Vec<u8>, AcmeError> {
        let opened = self.seal()?.open(&order_key(&self.name), key);
        opened.ok_or_else(|| internal("The key of the order cannot be opened: was the store key changed?".into()))
    }

    fn seal(&self) -> Result<&Seal, AcmeError> {
        self.inner.certificate_store.seal().ok_or_else(|| internal("There is no store key.".into()))
    }
}

fn serial(progress: &Progress) -> Option<String> {
    progress.certificate.as_ref().map(|facts| facts.serial.clone())
}

fn report(name: &Hostname, before: &Progress, now: &Progress) {
    if serial(before) != serial(now)
        && let Some(facts) = &now.certificate
    {
        let (names, directory) = (facts.names.join(" "), &facts.directory);
        tracing::info!(%name, names, until = %facts.not_after, directory, "new certificate");
    }
    if before.problem != now.problem
        && let Some(problem) = &now.problem
    {
        let next = now.next_try_at.map(|at| at.to_string()).unwrap_or_default();
        tracing::warn!(%name, problem = problem.message, next, "no certificate yet");
    }
    tracing::debug!(%name, stage = ?now.stage, "certificate");
}

fn internal(message: String) -> AcmeError {
    AcmeError::new(Kind::Internal, message)
}
