//! Who ought to hear whom: written again as plainly as it can be, to be compared with what is heard.

use std::collections::BTreeMap;

use super::{FAR_ENDS, Number};

/// A call with far end `Number`, which is up.
#[derive(Clone, Debug, Default)]
pub struct Call {
    pub held: bool,
    pub muted: bool,
    /// Within a conference the person and the others do not hear this party.
    pub party_muted: bool,
    /// Page that has its media.
    pub page: usize,
}

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub calls: BTreeMap<Number, Call>,
    /// The call on the screen; `None` where only the screen knows.
    pub displayed: Option<Number>,
    /// Those in conference.
    pub together: Vec<Number>,
    /// Waits in the server's parking place.
    pub parked: Option<Number>,
}

impl Model {
    /// No other far end than these may hear or be heard.
    pub fn talking(&self) -> Vec<Number> {
        self.calls.iter().filter(|(_, call)| !call.held).map(|(n, _)| *n).collect()
    }

    pub fn is_held(&self, n: Number) -> bool {
        self.calls.get(&n).is_some_and(|call| call.held)
    }

    /// `n` talks, and nobody else.
    pub fn talks(&mut self, n: Number) {
        self.hold_all();
        self.calls.entry(n).or_default().held = false;
        self.displayed = Some(n);
    }

    pub fn hold_all(&mut self) {
        self.calls.values_mut().for_each(|call| call.held = true);
    }

    /// Holds or resumes the conversation on the screen.
    pub fn hold_displayed(&mut self, displayed: Number) {
        let held = !self.is_held(displayed);
        self.hold_all();
        for n in self.conversation(displayed) {
            self.call(n).held = held;
        }
    }

    pub fn merge(&mut self, displayed: Number, with: Number) {
        self.together = self.conversation(displayed);
        self.together.push(with);
        for n in self.together.clone() {
            self.call(n).held = false;
        }
    }

    /// `n` is in a conference no more; one of a single party is none.
    pub fn leave(&mut self, n: Number) {
        self.together.retain(|other| *other != n);
        let alone = if self.together.len() == 1 { std::mem::take(&mut self.together) } else { Vec::new() };
        for n in alone.into_iter().chain([n]) {
            if let Some(call) = self.calls.get_mut(&n) {
                call.party_muted = false;
            }
        }
    }

    pub fn end(&mut self, n: Number) {
        self.leave(n);
        self.calls.remove(&n);
        if self.displayed == Some(n) {
            self.displayed = self.talking().first().copied();
        }
    }

    pub fn call(&mut self, n: Number) -> &mut Call {
        self.calls.get_mut(&n).expect("a call that is up")
    }

    fn conversation(&self, n: Number) -> Vec<Number> {
        if self.together.contains(&n) { self.together.clone() } else { vec![n] }
    }

    /// The tones that far end `n` hears, in order.
    pub fn heard_by(&self, n: Number, person: u32) -> Vec<u32> {
        let Some(call) = self.calls.get(&n).filter(|call| !call.held) else { return Vec::new() };
        let others = self.together.iter().filter(|_| self.together.contains(&n)).filter(|other| **other != n);
        let others = others.filter(|other| !self.calls[other].held && !self.calls[other].party_muted);
        let mut tones: Vec<u32> = others.map(|other| FAR_ENDS[*other].hz).collect();
        tones.extend((!call.muted).then_some(person));
        tones.sort_unstable();
        tones
    }

    /// The tones that the person hears, in order.
    pub fn heard_by_person(&self) -> Vec<u32> {
        let heard = self.talking().into_iter().filter(|n| !self.calls[n].party_muted);
        heard.map(|n| FAR_ENDS[n].hz).collect()
    }
}
