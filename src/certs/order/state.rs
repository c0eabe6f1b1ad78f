//! The states that a name's order goes through, each a type of its own. Its transitions are methods that consume
//! it; its fields are private to the module of these methods, so that no other code can make one up.
//!
//! [`State`] and [`Running`] only wrap them, for storage and dispatch.
//!
//! The steps of an order that the authority has are stored as one: after a restart, the order is read from
//! the authority and continued from its status there. The steps before are not stored: they are repeated.

use std::ops::ControlFlow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::before_order::{
    CheckingReachability, OpeningAccount, PlacingOrder, ReadingRenewalInfo, WaitReason, Waiting,
};
use super::placed_order::{
    AnsweringChallenges, Downloading, Finalizing, GeneratingKey, PlacedOrder, PollingOrder, ReadingAuthorizations,
};
use crate::timestamp::Timestamp;

#[derive(Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing is done before a set time.
    Waiting(Waiting),
    /// The driver has something to do.
    Running(Running),
}

/// A state that ends with what the driver reports of its work, an [`super::Outcome`].
#[derive(Debug, PartialEq, Eq)]
pub enum Running {
    CheckingReachability(CheckingReachability),
    OpeningAccount(OpeningAccount),
    PlacingOrder(PlacingOrder),
    PollingOrder(PollingOrder),
    ReadingAuthorizations(ReadingAuthorizations),
    AnsweringChallenges(AnsweringChallenges),
    GeneratingKey(GeneratingKey),
    Finalizing(Finalizing),
    Downloading(Downloading),
    ReadingRenewalInfo(ReadingRenewalInfo),
}

impl Running {
    /// The directory that the driver's work sends requests to, if it does.
    pub fn directory(&self) -> Option<&str> {
        match self {
            Self::CheckingReachability(_) | Self::GeneratingKey(_) => None,
            Self::OpeningAccount(state) => Some(state.directory()),
            Self::PlacingOrder(state) => Some(state.directory()),
            Self::PollingOrder(state) => Some(&state.order().directory),
            Self::ReadingAuthorizations(state) => Some(&state.order().directory),
            Self::AnsweringChallenges(state) => Some(&state.order().directory),
            Self::Finalizing(state) => Some(&state.order().directory),
            Self::Downloading(state) => Some(&state.order().directory),
            Self::ReadingRenewalInfo(state) => Some(state.directory()),
        }
    }

    /// When the work may begin, where that is not at once.
    pub fn not_before(&self) -> Option<Timestamp> {
        match self {
            Self::PollingOrder(state) => Some(state.not_before()),
            Self::Downloading(state) => Some(state.not_before()),
            Self::CheckingReachability(_)
            | Self::OpeningAccount(_)
            | Self::PlacingOrder(_)
            | Self::ReadingAuthorizations(_)
            | Self::AnsweringChallenges(_)
            | Self::GeneratingKey(_)
            | Self::Finalizing(_)
            | Self::ReadingRenewalInfo(_) => None,
        }
    }
}

impl From<Waiting> for State {
    fn from(state: Waiting) -> Self {
        Self::Waiting(state)
    }
}

macro_rules! running {
    ($($state:ident),*) => {$(
        impl From<$state> for State {
            fn from(state: $state) -> Self {
                Self::Running(Running::$state(state))
            }
        }
    )*};
}

running!(
    CheckingReachability,
    OpeningAccount,
    PlacingOrder,
    PollingOrder,
    ReadingAuthorizations,
    AnsweringChallenges,
    GeneratingKey,
    Finalizing,
    Downloading,
    ReadingRenewalInfo
);

impl<S: Into<Self>> From<ControlFlow<Waiting, S>> for State {
    fn from(next: ControlFlow<Waiting, S>) -> Self {
        match next {
            ControlFlow::Continue(state) => state.into(),
            ControlFlow::Break(waiting) => waiting.into(),
        }
    }
}

/// What is stored of a state. The names are those of the stored JSON.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum StoredState {
    #[serde(rename = "resting")]
    Waiting {
        until: Timestamp,
        #[serde(rename = "why")]
        reason: WaitReason,
        #[serde(rename = "placed")]
        order: Option<PlacedOrder>,
    },
    #[serde(rename = "underway")]
    Order(PlacedOrder),
}

impl From<&State> for StoredState {
    fn from(state: &State) -> Self {
        let at_once = |reason| Self::Waiting { until: Timestamp(0), reason, order: None };
        let running = match state {
            State::Waiting(waiting) => {
                let (until, reason, order) = (waiting.until(), waiting.reason(), waiting.order().cloned());
                return Self::Waiting { until, reason, order };
            }
            State::Running(running) => running,
        };
        match running {
            Running::CheckingReachability(_) | Running::OpeningAccount(_) | Running::PlacingOrder(_) => {
                at_once(WaitReason::New)
            }
            Running::ReadingRenewalInfo(_) => at_once(WaitReason::Issued),
            Running::PollingOrder(state) => Self::Order(state.order().clone()),
            Running::ReadingAuthorizations(state) => Self::Order(state.order().clone()),
            Running::AnsweringChallenges(state) => Self::Order(state.order().clone()),
            Running::GeneratingKey(state) => Self::Order(state.order().clone()),
            Running::Finalizing(state) => Self::Order(state.to_order()),
            Running::Downloading(state) => Self::Order(state.to_order()),
        }
    }
}

impl From<StoredState> for State {
    fn from(stored: StoredState) -> Self {
        match stored {
            StoredState::Waiting { until, reason, order } => Waiting::stored(until, reason, order).into(),
            StoredState::Order(order) => PollingOrder::stored(order).into(),
        }
    }
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        StoredState::from(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for State {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        StoredState::deserialize(deserializer).map(Into::into)
    }
}
