//! The stored record of one name: its certificate, the order for the next one, and what earlier attempts showed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::before_order::{WaitReason, Waiting};
use super::state::{Running, State};
use crate::certs::progress::{Facts, Problem, Progress, Stage, Wanted};
use crate::certs::quotas::IssuanceHistory;
use crate::timestamp::Timestamp;

/// The record of one name. Where a field is renamed, the older name is the one in stored records.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRecord {
    #[serde(flatten)]
    pub name: NameRecord,
    pub state: State,
}

/// What is kept of a name whatever the state of its order.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NameRecord {
    pub wanted: Wanted,
    /// Failed attempts since the last certificate.
    pub failures: u32,
    /// Counts up; modulo the number of directories, the index of the one to order from next.
    #[serde(rename = "turn")]
    pub next_directory: usize,
    /// Counts up; modulo the number of possible methods, the index of the one to try next.
    #[serde(rename = "method")]
    pub next_method: usize,
    pub history: IssuanceHistory,
    /// Directories that are not asked for this name before the given time.
    #[serde(rename = "holds")]
    pub directory_backoffs: BTreeMap<String, Timestamp>,
    pub problem: Option<Problem>,
    #[serde(rename = "held")]
    pub certificate: Option<CurrentCertificate>,
    /// Present while each method's preflight check reaches another server.
    #[serde(default, rename = "astray")]
    pub preflight_failures: Option<PreflightFailures>,
}

/// Preflight checks in a row that reached another server by each method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreflightFailures {
    /// When the first of them was made, or when an order was last placed in spite of them.
    pub since: Timestamp,
    #[serde(rename = "looks")]
    pub checks: u32,
}

/// The certificate that the name has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CurrentCertificate {
    pub facts: Facts,
    /// Its unique identifier (RFC 9773 section 4.1); none where it has no authority key identifier.
    pub id: Option<String>,
    /// The renewal window that the authority suggested last.
    pub window: Option<(Timestamp, Timestamp)>,
    /// When to ask for the renewal window again.
    pub ask_at: Timestamp,
}

impl OrderRecord {
    pub fn new(wanted: Wanted, now: Timestamp) -> Self {
        let name = NameRecord {
            wanted,
            failures: 0,
            next_directory: 0,
            next_method: 0,
            history: IssuanceHistory::default(),
            directory_backoffs: BTreeMap::new(),
            problem: None,
            certificate: None,
            preflight_failures: None,
        };
        Self { name, state: Waiting::new(now).into() }
    }

    /// When the driver has something to do; at once (the epoch) while the order is in a running state.
    pub fn due_at(&self) -> Timestamp {
        match &self.state {
            State::Waiting(waiting) => waiting.until(),
            State::Running(_) => Timestamp(0),
        }
    }
    pub fn progress(&self) -> Progress {
        let next_try_at = match &self.state {
            State::Waiting(waiting) => match (waiting.reason(), &self.name.certificate) {
                (WaitReason::Issued, Some(certificate)) => Some(certificate.facts.renew_at),
                _ => Some(waiting.until()),
            },
            State::Running(running) => running.not_before(),
        };
        Progress {
            stage: self.stage(),
            problem: self.name.problem.clone(),
            next_try_at,
            certificate: self.name.certificate.as_ref().map(|certificate| certificate.facts.clone()),
        }
    }

    fn stage(&self) -> Stage {
        let running = match &self.state {
            State::Waiting(waiting) => {
                return match waiting.reason() {
                    WaitReason::New => Stage::Waiting,
                    WaitReason::Issued => Stage::Issued,
                    WaitReason::Preflight => Stage::Preflight,
                    WaitReason::Backoff => Stage::Backoff,
                    WaitReason::Blocked => Stage::Blocked,
                };
            }
            State::Running(running) => running,
        };
        match running {
            Running::ReadingRenewalInfo(_) => Stage::Issued,
            _ if self.name.certificate.is_some() => Stage::Renewing,
            Running::CheckingReachability(_) | Running::OpeningAccount(_) => Stage::Preflight,
            Running::PlacingOrder(_) => Stage::Ordering,
            Running::PollingOrder(state) if state.order().key.is_none() => Stage::Challenge,
            Running::ReadingAuthorizations(_) | Running::AnsweringChallenges(_) => Stage::Challenge,
            Running::PollingOrder(_) | Running::GeneratingKey(_) | Running::Finalizing(_) | Running::Downloading(_) => {
                Stage::Finalizing
            }
        }
    }
}
