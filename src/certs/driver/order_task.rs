//! One name's course from where it stands to its next rest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use instant_acme::Order;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::{Certs, Inner};
use crate::certs::acme_error::{AcmeError, Kind};
use crate::certs::certificate_store::{Origin, PreparedCertificate};
use crate::certs::challenges::PublishedChallenges;
use crate::certs::client::{self, AccountSession};
use crate::certs::keys;
use crate::certs::leases::{LEASE_TTL, LeaseOutcome};
use crate::certs::order::Reachability;
use crate::certs::order::{Collected, DirectoryBackoff, Effect, Event, OrderState, PlacedOrder, step};
use crate::certs::preflight;
use crate::certs::progress::Progress;
use crate::certs::sealed::Sealed;
use crate::hostname::Hostname;
use crate::store::keys::order_key;
use crate::store::{self, Batch, Revision, decode, encode};
use crate::timestamp::Timestamp;

/// Between two looks at what another appliance does with a name.
const FOREIGN_ORDER_POLL_INTERVAL: Duration = Duration::from_secs(3);
/// After the store failed.
const STORE_RETRY_DELAY: Duration = Duration::from_secs(10);

/// A course that is driven, with what it holds in hand.
struct OrderTask<'a> {
    house: &'a Inner,
    name: Hostname,
    /// Of its entry.
    number: u64,
    course: OrderState,
    /// Of its record; none where there is no record yet.
    revision: Option<Revision>,
    /// The record's bytes.
    stored: Vec<u8>,
    lease_until: Timestamp,
    order: Option<Order>,
    notices: Option<PublishedChallenges>,
    prepared: Option<PreparedCertificate>,
}

/// How a pursuit came to its end.
enum End {
    /// The course rests.
    Resting,
    /// The name is somebody else's business up to then.
    Postponed(Timestamp),
    /// The name was taken away.
    Gone,
}

impl Certs {
    pub(super) async fn pursue(self, name: Hostname, number: u64) {
        // A task of its own: should it panic, the name is tried again like after any other failure.
        let following = tokio::spawn({
            let (this, name) = (self.clone(), name.clone());
            async move { this.follow(&name, number).await }
        });
        let broken = |error| Err(store::Error::Failed(format!("it broke off: {error}")));
        let end = following.await.unwrap_or_else(broken);
        let mut agenda = self.agenda();
        // What came after it has a pursuit of its own.
        let Some(entry) = agenda.of(&name, number) else { return };
        entry.running = false;
        match end {
            Ok(End::Resting | End::Gone) => agenda.plan(&name),
            Ok(End::Postponed(until)) => agenda.set_due(&name, Some(until)),
            Err(error) => {
                tracing::error!(%name, %error, "the way to the certificate is interrupted");
                let later = Self::moment().about(STORE_RETRY_DELAY);
                agenda.set_due(&name, Some(later));
            }
        }
        drop(agenda);
        self.0.wake.notify_one();
    }

    async fn follow(&self, name: &Hostname, number: u64) -> Result<End, store::Error> {
        let house = &*self.0;
        let lease_until = match house.leases.take(name, Timestamp::now()).await? {
            LeaseOutcome::Ours(until) => until,
            LeaseOutcome::Theirs(until) => {
                if let Some(record) = house.store.get(&order_key(name)).await? {
                    self.follow_others(name, number, &decode(&order_key(name), &record.bytes)?).await?;
                }
                return Ok(End::Postponed(Self::moment().about(FOREIGN_ORDER_POLL_INTERVAL).min(until)));
            }
        };
        let key = order_key(name);
        let record = house.store.get(&key).await?;
        // Released meanwhile.
        let Some(known) = self.agenda().of(name, number).map(|entry| entry.course.wanted.clone()) else {
            house.leases.release(name).await?;
            return Ok(End::Gone);
        };
        let (course, revision, stored) = match record {
            Some(record) => {
                let course = decode(&key, &record.bytes)?;
                self.follow_others(name, number, &course).await?;
                (course, Some(record.revision), record.bytes)
            }
            None => (OrderState::new(known, Timestamp::now()), None, Vec::new()),
        };
        let (order, notices, prepared) = (None, None, None);
        let mut pursuit = OrderTask {
            house,
            name: name.clone(),
            number,
            course,
            revision,
            stored,
            lease_until,
            order,
            notices,
            prepared,
        };
        let end = self.drive(&mut pursuit).await;
        house.leases.release(name).await?;
        end
    }

    /// Takes over what is stored of a name, which another appliance may have written: its certificate, too.
    async fn follow_others(&self, name: &Hostname, number: u64, stored: &OrderState) -> Result<(), store::Error> {
        let Some(known) = self.agenda().of(name, number).map(|entry| serial(&entry.course)) else { return Ok(()) };
        if serial(stored).is_some() && known != serial(stored) {
            self.0.certificate_store.load(name.as_str()).await?;
        }
        self.publish(name, number, stored);
        Ok(())
    }

    async fn drive(&self, pursuit: &mut OrderTask<'_>) -> Result<End, store::Error> {
        let mut event = Some(Event::Due(pursuit.closed_directories()));
        loop {
            let mut inbox = match self.agenda().of(&pursuit.name, pursuit.number) {
                Some(entry) => std::mem::take(&mut entry.inbox),
                None => return Ok(End::Gone),
            };
            // What was wanted comes before what came of the last effect: the course may be a new one.
            inbox.extend(event.take());
            let mut effects = Vec::new();
            for event in inbox {
                let course = pursuit.course.clone();
                let (course, follow) = step(course, event, &self.0.rules, Self::moment());
                pursuit.course = course;
                // Only what is pending at the end is still to be done.
                effects.retain(|effect| !pending(effect));
                effects.extend(follow);
            }
            let mut next = None;
            let keep = effects.contains(&Effect::Keep);
            if !pursuit.store(keep).await? {
                return Ok(End::Gone);
            }
            for effect in effects {
                match effect {
                    Effect::Keep => pursuit.show(),
                    Effect::Withdraw => pursuit.notices = None,
                    Effect::ForgetAccount { directory } => self.0.accounts.forget(&directory).await?,
                    other => next = Some(other),
                }
            }
            if !self.publish(&pursuit.name, pursuit.number, &pursuit.course) {
                return Ok(End::Gone);
            }
            match next {
                Some(Effect::WaitReason(until)) if until <= Timestamp::now() => {
                    event = Some(Event::Due(pursuit.closed_directories()));
                }
                Some(Effect::WaitReason(_)) | None => return Ok(End::Resting),
                Some(effect) => {
                    if !pursuit.prolong().await? {
                        return Ok(End::Postponed(Self::moment().about(FOREIGN_ORDER_POLL_INTERVAL)));
                    }
                    event = Some(pursuit.perform(effect).await);
                }
            }
        }
    }

    /// Makes the course known. Not where the name was released.
    fn publish(&self, name: &Hostname, number: u64, course: &OrderState) -> bool {
        let mut agenda = self.agenda();
        let Some(entry) = agenda.of(name, number) else { return false };
        let before = entry.course.progress();
        entry.course = course.clone();
        let now = entry.course.progress();
        drop(agenda);
        if before != now {
            report(name, &before, &now);
            self.tell(name);
        }
        true
    }
}

impl OrderTask<'_> {
    /// Directories that are not to be asked now.
    fn closed_directories(&self) -> BTreeMap<String, DirectoryBackoff> {
        let closed = |directory: &String| Some((directory.clone(), self.house.accounts.closed(directory)?));
        self.house.rules.directories.iter().filter_map(closed).collect()
    }

    /// Writes the course down, where it has changed in a way that must survive; the certificate with it.
    /// Not where somebody else has written.
    async fn store(&mut self, keep: bool) -> Result<bool, store::Error> {
        let bytes = encode(&self.course)?;
        if bytes == self.stored && !keep {
            return Ok(true);
        }
        let key = order_key(&self.name);
        let batch = match self.revision {
            Some(revision) => Batch::new().require_revision(&key, revision),
            None => Batch::new().require_absent(&key),
        };
        let mut batch = batch.put(&key, bytes.clone());
        if let Some(prepared) = self.prepared.as_ref().filter(|_| keep) {
            batch = prepared.put_into(batch);
        }
        match self.house.store.commit(batch).await {
            Ok(revision) => {
                (self.revision, self.stored) = (Some(revision), bytes);
                Ok(true)
            }
            Err(store::Error::Conflict(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Serves the certificate that was just stored.
    fn show(&mut self) {
        if let Some(prepared) = self.prepared.take() {
            self.house.certificate_store.show(prepared);
        }
    }

    /// Keeps the lease for the time of the next effect.
    async fn prolong(&mut self) -> Result<bool, store::Error> {
        let now = Timestamp::now();
        if now.until(self.lease_until) > LEASE_TTL / 2 {
            return Ok(true);
        }
        match self.house.leases.take(&self.name, now).await? {
            LeaseOutcome::Ours(until) => {
                self.lease_until = until;
                Ok(true)
            }
            LeaseOutcome::Theirs(_) => Ok(false),
        }
    }

    async fn perform(&mut self, effect: Effect) -> Event {
        self.attempt(effect).await.unwrap_or_else(Event::Failed)
    }

    async fn attempt(&mut self, effect: Effect) -> Result<Event, AcmeError> {
        if let Effect::Review { at, .. } | Effect::Collect { at, .. } = &effect {
            wait_until(*at).await;
        }
        let _place = match directory(&effect) {
            Some(directory) => self.house.accounts.place(directory).await,
            None => None,
        };
        match effect {
            Effect::CheckReachability { methods } => {
                let house = self.house;
                let served = house.certificate_store.cert_resolver();
                let look = |method| preflight::look(&*house.scout, &house.board, served, &self.name, method);
                let sights = join_all(methods.iter().map(|method| look(*method))).await;
                for sight in &sights {
                    if let Reachability::Unknown(why) = sight {
                        tracing::debug!(name = %self.name, why, "whether the name leads here cannot be told");
                    }
                }
                Ok(Event::Looked(methods.into_iter().zip(sights).collect()))
            }
            Effect::Open { directory } => {
                self.session(&directory).await?;
                Ok(Event::OpenedAccount)
            }
            Effect::Place { directory, names, replaces } => {
                let session = self.session(&directory).await?;
                if self.course.held.is_none() {
                    self.house.accounts.count_debut(&directory, &self.name, Timestamp::now()).await?;
                }
                self.house.accounts.count_order(&directory, Timestamp::now()).await?;
                let placed = session.place(&names, self.house.profile.as_deref(), replaces.as_deref()).await;
                self.note(&directory, placed.as_ref().map(|_| ()));
                let (order, view) = placed?;
                self.order = Some(order);
                Ok(Event::Order(view))
            }
            Effect::Review { placed, .. } => {
                if let Some(order) = &mut self.order {
                    return Ok(Event::Order(client::review(order).await?));
                }
                let (order, view) = self.session(&placed.directory).await?.order(&placed.url).await?;
                self.order = Some(order);
                Ok(Event::Order(view))
            }
            Effect::Authorizations(placed) => {
                Ok(Event::Authorizations(client::authorizations(self.order(&placed).await?).await?))
            }
            Effect::Answer { placed, answers } => {
                let proofs = client::proofs(self.order(&placed).await?, &answers).await?;
                let house = self.house;
                self.notices = Some(house.board.put(&proofs, house.certificate_store.cert_resolver())?);
                client::accept(self.order(&placed).await?, &answers).await?;
                Ok(Event::Answered)
            }
            Effect::MakeKey(_) => {
                let seal = self.seal()?;
                let sealed = seal.seal(&order_key(&self.name), keys::fresh()?);
                sealed.map(Event::KeyMade).map_err(|error| ours(format!("The key cannot be sealed: {error}.")))
            }
            Effect::Finalize(placed) => {
                let request = keys::request(&self.key(placed.key.as_ref())?, &placed.names)?;
                Ok(Event::Order(client::finalize(self.order(&placed).await?, &request).await?))
            }
            Effect::Collect { placed, .. } => {
                let pem = client::collect(self.order(&placed).await?).await?;
                let collected = self.examine(&placed, &pem)?;
                if self.course.held.is_none() {
                    self.house.accounts.debut(&placed.directory, &self.name, Timestamp::now()).await?;
                }
                Ok(collected)
            }
            Effect::Ask { directory, id } => {
                let suggestion = self.session(&directory).await?.suggestion(&id).await?;
                let client::Suggestion { start, end, ask_again } = suggestion;
                Ok(Event::Suggested { start, end, ask_again: Some(ask_again) })
            }
            Effect::WaitReason(_) | Effect::Keep | Effect::Withdraw | Effect::ForgetAccount { .. } => {
                Err(ours("The course took a step that is none.".into()))
            }
        }
    }

    /// Looks over what was bought.
    fn examine(&mut self, placed: &PlacedOrder, pem: &str) -> Result<Event, AcmeError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let chain = chain.unwrap_or_default();
        let id = chain.first().and_then(client::renewal_id);
        let origin = Origin::Acme { directory: placed.directory.clone() };
        let key = self.key(placed.key.as_ref())?;
        let prepared =
            self.house.certificate_store.prepare(self.name.as_str(), chain, key, origin).map_err(|unfit| {
                AcmeError::new(Kind::Refused, format!("The certificate that the authority has made {unfit}."))
            })?;
        let kept = &prepared.kept;
        let collected = Collected {
            names: kept.names.clone(),
            not_before: kept.not_before,
            not_after: kept.not_after,
            serial: kept.serial.clone(),
            id,
        };
        self.prepared = Some(prepared);
        Ok(Event::Collected(collected))
    }

    async fn session(&self, directory: &str) -> Result<Arc<AccountSession>, AcmeError> {
        let session = self.house.accounts.session(directory).await;
        self.note(directory, session.as_ref().map(|_| ()));
        session
    }

    fn note(&self, directory: &str, outcome: Result<(), &AcmeError>) {
        self.house.accounts.note(directory, outcome, Certs::moment());
    }

    /// The order in hand, read again where it is not.
    async fn order(&mut self, placed: &PlacedOrder) -> Result<&mut Order, AcmeError> {
        if self.order.is_none() {
            let (order, _) = self.session(&placed.directory).await?.order(&placed.url).await?;
            self.order = Some(order);
        }
        self.order.as_mut().ok_or_else(|| ours("There is no order.".into()))
    }

    fn key(&self, sealed: Option<&Sealed>) -> Result<Vec<u8>, AcmeError> {
        let opened = sealed.and_then(|sealed| self.seal().ok()?.open(&order_key(&self.name), sealed));
        opened.ok_or_else(|| ours("The key of the order cannot be opened: was the store key changed?".into()))
    }

    fn seal(&self) -> Result<&crate::certs::sealed::Seal, AcmeError> {
        self.house.certificate_store.seal().ok_or_else(|| ours("There is no store key.".into()))
    }
}

/// The directory that has to answer.
fn directory(effect: &Effect) -> Option<&str> {
    match effect {
        Effect::Open { directory } | Effect::Place { directory, .. } | Effect::Ask { directory, .. } => Some(directory),
        Effect::Review { placed, .. }
        | Effect::Authorizations(placed)
        | Effect::Answer { placed, .. }
        | Effect::Finalize(placed)
        | Effect::Collect { placed, .. } => Some(&placed.directory),
        Effect::CheckReachability { .. }
        | Effect::MakeKey(_)
        | Effect::WaitReason(_)
        | Effect::Keep
        | Effect::Withdraw
        | Effect::ForgetAccount { .. } => None,
    }
}

/// Of the certificate that there is.
fn serial(course: &OrderState) -> Option<String> {
    course.held.as_ref().map(|held| held.facts.serial.clone())
}

fn report(name: &Hostname, before: &Progress, now: &Progress) {
    if before.certificate.as_ref().map(|facts| &facts.serial) != now.certificate.as_ref().map(|facts| &facts.serial)
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

async fn wait_until(at: Timestamp) {
    tokio::time::sleep(Timestamp::now().until(at)).await;
}

/// Whether an effect is what a state waits for.
fn pending(effect: &Effect) -> bool {
    !matches!(effect, Effect::Keep | Effect::Withdraw | Effect::ForgetAccount { .. })
}

fn ours(message: String) -> AcmeError {
    AcmeError::new(Kind::Internal, message)
}
