//! What is known of one name, and how it is stored: what a course must remember over the end of the process
//! is little. All states of a running order are stored as one, from which the order is looked at again
//! and continued where it stands.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Answer, Effect, Rules};
use crate::certs::progress::{Facts, Problem, Progress, Stage, Wanted};
use crate::certs::quotas::IssuanceHistory;
use crate::certs::sealed::Sealed;
use crate::timestamp::Timestamp;

/// What is known of one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderState {
    pub wanted: Wanted,
    pub state: State,
    /// Since the last certificate.
    pub failures: u32,
    /// Which directory is asked next, counted on and on.
    pub turn: usize,
    /// Which method is tried next, counted on and on.
    pub method: usize,
    pub history: IssuanceHistory,
    /// Directories that do not want to hear of this name before the moment.
    pub holds: BTreeMap<String, Timestamp>,
    pub problem: Option<Problem>,
    pub held: Option<CurrentCertificate>,
    /// The name leads to somebody else, as far as can be seen from here.
    #[serde(default)]
    pub astray: Option<PreflightFailures>,
}

/// Looks that saw another server answer for the name, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreflightFailures {
    /// Or since an order was placed all the same.
    pub since: Timestamp,
    pub looks: u32,
}

/// The certificate that there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CurrentCertificate {
    pub facts: Facts,
    /// Its name in RFC 9773; none where it cannot have one.
    pub id: Option<String>,
    /// The window that the authority suggested last.
    pub window: Option<(Timestamp, Timestamp)>,
    /// When to ask for it again.
    pub ask_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub enum State {
    Resting {
        until: Timestamp,
        why: WaitReason,
        /// An order that goes on afterwards.
        placed: Option<PlacedOrder>,
    },
    /// Whether the name leads here is looked at.
    Looking {
        directory: String,
    },
    /// The account is made ready.
    Opening {
        directory: String,
    },
    Ordering {
        directory: String,
        replacing: bool,
    },
    /// The order is read.
    Reviewing {
        placed: PlacedOrder,
        at: Timestamp,
    },
    /// Its authorizations are read.
    Authorizing {
        placed: PlacedOrder,
    },
    /// Challenges are answered, and the authority told so.
    Answering {
        placed: PlacedOrder,
        answers: Vec<Answer>,
    },
    /// A private key is made.
    Keying {
        placed: PlacedOrder,
    },
    Finalizing {
        placed: PlacedOrder,
    },
    Collecting {
        placed: PlacedOrder,
        at: Timestamp,
    },
    /// The authority is asked when the certificate should be renewed.
    Asking {
        directory: String,
        id: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitReason {
    New,
    Issued,
    /// The name does not lead here yet.
    Preflight,
    Backoff,
    Blocked,
}

/// An order that the authority has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlacedOrder {
    pub directory: String,
    pub url: String,
    pub at: Timestamp,
    pub names: Vec<String>,
    /// The private key.
    pub key: Option<Sealed>,
    pub finalized_at: Option<Timestamp>,
    /// Authorizations that the authority was told to look at, as long as nobody knows what it saw.
    #[serde(default)]
    pub told: usize,
    /// That it came to nothing.
    pub verdict: Option<Problem>,
    /// In this process: challenges are answered from memory.
    #[serde(skip)]
    pub answered_at: Option<Timestamp>,
    #[serde(skip)]
    pub polls: u32,
    /// Requests in a row that broke off.
    #[serde(skip)]
    pub stumbles: u32,
}

impl OrderState {
    pub fn new(wanted: Wanted, now: Timestamp) -> Self {
        Self {
            wanted,
            state: State::Resting { until: now, why: WaitReason::New, placed: None },
            failures: 0,
            turn: 0,
            method: 0,
            history: IssuanceHistory::default(),
            holds: BTreeMap::new(),
            problem: None,
            held: None,
            astray: None,
        }
    }

    /// Taken apart for a step, which consumes the state and gives the next one.
    pub(super) fn without_state(mut self) -> (Self, State) {
        let none = State::Resting { until: Timestamp(0), why: WaitReason::New, placed: None };
        let state = std::mem::replace(&mut self.state, none);
        (self, state)
    }

    /// What is to be done in this state; also the first thing after a restart.
    pub fn pending(&self, rules: &Rules) -> Effect {
        match &self.state {
            State::Resting { until, .. } => Effect::WaitReason(*until),
            State::Looking { .. } => Effect::CheckReachability { methods: rules.methods(&self.wanted) },
            State::Opening { directory } => Effect::Open { directory: directory.clone() },
            State::Ordering { directory, replacing } => {
                let replaces = self.held.as_ref().and_then(|held| held.id.clone()).filter(|_| *replacing);
                Effect::Place { directory: directory.clone(), names: rules.names(&self.wanted), replaces }
            }
            State::Reviewing { placed, at } => Effect::Review { placed: placed.clone(), at: *at },
            State::Authorizing { placed } => Effect::Authorizations(placed.clone()),
            State::Answering { placed, answers } => Effect::Answer { placed: placed.clone(), answers: answers.clone() },
            State::Keying { placed } => Effect::MakeKey(placed.clone()),
            State::Finalizing { placed } => Effect::Finalize(placed.clone()),
            State::Collecting { placed, at } => Effect::Collect { placed: placed.clone(), at: *at },
            State::Asking { directory, id } => Effect::Ask { directory: directory.clone(), id: id.clone() },
        }
    }

    pub fn progress(&self) -> Progress {
        let next_try_at = match &self.state {
            State::Resting { until, why: WaitReason::Issued, .. } => {
                Some(self.held.as_ref().map_or(*until, |held| held.facts.renew_at))
            }
            State::Resting { until, .. } | State::Reviewing { at: until, .. } | State::Collecting { at: until, .. } => {
                Some(*until)
            }
            _ => None,
        };
        Progress {
            stage: self.stage(),
            problem: self.problem.clone(),
            next_try_at,
            certificate: self.held.as_ref().map(|held| held.facts.clone()),
        }
    }

    fn stage(&self) -> Stage {
        let placed = match &self.state {
            State::Resting { why, .. } => {
                return match why {
                    WaitReason::New => Stage::Waiting,
                    WaitReason::Issued => Stage::Issued,
                    WaitReason::Preflight => Stage::Preflight,
                    WaitReason::Backoff => Stage::Backoff,
                    WaitReason::Blocked => Stage::Blocked,
                };
            }
            State::Asking { .. } => return Stage::Issued,
            _ if self.held.is_some() => return Stage::Renewing,
            State::Looking { .. } | State::Opening { .. } => return Stage::Preflight,
            State::Ordering { .. } => return Stage::Ordering,
            State::Reviewing { placed, .. } => placed,
            State::Authorizing { .. } | State::Answering { .. } => return Stage::Challenge,
            State::Keying { .. } | State::Finalizing { .. } | State::Collecting { .. } => return Stage::Finalizing,
        };
        if placed.key.is_some() { Stage::Finalizing } else { Stage::Challenge }
    }
}

/// How states are stored: those of a running order as one, those before it not at all.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Stored {
    Resting { until: Timestamp, why: WaitReason, placed: Option<PlacedOrder> },
    Underway(PlacedOrder),
}

impl From<State> for Stored {
    fn from(state: State) -> Self {
        match state {
            State::Resting { until, why, placed } => Self::Resting { until, why, placed },
            State::Looking { .. } | State::Opening { .. } | State::Ordering { .. } => {
                Self::Resting { until: Timestamp(0), why: WaitReason::New, placed: None }
            }
            State::Asking { .. } => Self::Resting { until: Timestamp(0), why: WaitReason::Issued, placed: None },
            State::Reviewing { placed, .. }
            | State::Authorizing { placed }
            | State::Answering { placed, .. }
            | State::Keying { placed }
            | State::Finalizing { placed }
            | State::Collecting { placed, .. } => Self::Underway(placed),
        }
    }
}

impl From<Stored> for State {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Resting { until, why, placed } => Self::Resting { until, why, placed },
            Stored::Underway(placed) => Self::Reviewing { placed, at: Timestamp(0) },
        }
    }
}
