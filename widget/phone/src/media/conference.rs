//! The conference of this page: each party hears the person and the other parties, and never itself.
//!
//! Each call sends a mix of its own ([`super::outgoing_audio`]): microphone and clip, and one node of each other party
//! that is heard. The loudspeaker plays each party by its own audio element, as that of an ordinary call. A party that is
//! muted is heard by nobody, neither the person nor the others; nor is one that has put us on hold, whose hold music
//! would play to all. The part of the phone that is loaded later connects them ([`update_conference`]).
//!
//! Whoever records a conference finds what the person says in [`super::outgoing_audio`] (microphone and clip), and all
//! that is heard of the parties in [`Conference::heard`].

use std::rc::Rc;

use bitcall_wire::agent_protocol::{AgentSnapshot, CallId};
use wasm_bindgen_futures::spawn_local;
use web_sys::{AudioContext, AudioNode, MediaStream, MediaStreamAudioSourceNode};

use super::MediaShared;
use super::call_media::CallMedia;
use crate::browser::sleep;
use crate::secondary;

/// A browser starts an `AudioContext` within this time, or waits for a gesture of the person.
const CONTEXT_START_MS: i32 = 1_000;

/// Empty without a conference in this page.
#[derive(Default)]
pub struct Conference {
    /// By the last snapshot.
    parties: Vec<MixedParty>,
    sources: Vec<Source>,
    /// There are parties, or what there was for them has to be undone.
    is_in_use: bool,
    /// The parties do not hear each other until the browser starts the `AudioContext`.
    awaits_context: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct MixedParty {
    call: CallId,
    is_heard: bool,
}

/// The sound of one party.
struct Source {
    call: CallId,
    stream: MediaStream,
    node: MediaStreamAudioSourceNode,
}

impl Conference {
    /// The call, and those that are in conference with it.
    pub fn together(&self, call: &str) -> Vec<CallId> {
        let is_other = |party: &&MixedParty| party.call != call;
        let is_party = self.parties.iter().any(|party| party.call == call);
        let others = self.parties.iter().filter(|party| is_party && is_other(party));
        std::iter::once(call.to_owned()).chain(others.map(|party| party.call.clone())).collect()
    }

    /// The parties that are heard, each with the node that has its sound.
    pub fn heard(&self) -> impl Iterator<Item = (&str, &AudioNode)> {
        self.sources.iter().map(|source| (source.call.as_str(), AsRef::<AudioNode>::as_ref(&source.node)))
    }

    /// The node of the party, made anew if its stream is another one.
    fn source(&mut self, context: &AudioContext, call: &str, stream: MediaStream) -> Option<Source> {
        if let Some(place) = self.sources.iter().position(|source| source.call == call && source.stream == stream) {
            return Some(self.sources.swap_remove(place));
        }
        let node = context.create_media_stream_source(&stream).ok()?;
        Some(Source { call: call.to_owned(), stream, node })
    }
}

impl MediaShared {
    pub(super) fn apply_parties(self: &Rc<Self>, snapshot: &AgentSnapshot, page: &str) {
        let parties = parties(snapshot, page);
        let mut conference = self.conference.borrow_mut();
        conference.is_in_use |= !parties.is_empty();
        conference.parties = parties;
        drop(conference);
        self.update_conference();
    }

    /// Connects those that talk: needed whenever a party comes or goes, talks or waits, or has another stream.
    pub(super) fn update_conference(self: &Rc<Self>) {
        if !self.conference.borrow().is_in_use {
            return;
        }
        let inner = Rc::downgrade(self);
        secondary::when_loaded(move |part| {
            if let Some(inner) = inner.upgrade() {
                (part.update_conference)(&inner);
            }
        });
    }
}

/// See [`MediaShared::update_conference`].
pub fn update_conference(inner: &Rc<MediaShared>) {
    let parties = inner.conference.borrow().parties.clone();
    inner.conference.borrow_mut().is_in_use = !parties.is_empty();
    let all: Vec<Rc<CallMedia>> = inner.media_by_call.borrow().values().cloned().collect();
    let party_of = |call_media: &CallMedia| parties.iter().find(|party| party.call == call_media.call());
    let talks =
        |call_media: &CallMedia| party_of(call_media).is_some() && inner.gates.borrow().is_open(call_media.call());
    let is_heard = |call_media: &CallMedia| party_of(call_media).is_none_or(|party| party.is_heard);
    for call_media in &all {
        call_media.set_heard(is_heard(call_media));
    }
    let talking = all.iter().filter(|call_media| talks(call_media));
    let is_wanted = talking.clone().count() > 1;
    let context = inner.audio.context_if_running().filter(|_| is_wanted);
    let mut sources = Vec::new();
    if let Some(context) = &context {
        for call_media in talking.filter(|call_media| is_heard(call_media)) {
            if let Some(stream) = call_media.remote_stream() {
                sources.extend(inner.conference.borrow_mut().source(context, call_media.call(), stream));
            }
        }
    }
    let unused = std::mem::replace(&mut inner.conference.borrow_mut().sources, sources);
    for call_media in &all {
        let conference = inner.conference.borrow();
        let others = conference.heard().filter(|(call, _)| talks(call_media) && *call != call_media.call());
        call_media.outgoing().set_others(context.as_ref(), others.map(|(_, node)| node.clone()).collect());
    }
    drop(unused);
    for call_media in &all {
        call_media.outgoing().notify_sound_changed();
    }
    if is_wanted && context.is_none() {
        await_context(inner);
    }
}

/// A page that was reloaded may have to wait before it can mix.
fn await_context(inner: &Rc<MediaShared>) {
    if std::mem::replace(&mut inner.conference.borrow_mut().awaits_context, true) {
        return;
    }
    let waiting = Rc::clone(inner);
    spawn_local(async move {
        let context = waiting.audio.running_context().await;
        waiting.conference.borrow_mut().awaits_context = false;
        if context.is_some() {
            waiting.update_conference();
        }
    });
    let inner = Rc::clone(inner);
    spawn_local(async move {
        sleep(CONTEXT_START_MS).await;
        if inner.conference.borrow().awaits_context && !inner.media_by_call.borrow().is_empty() {
            inner.set_sound_blocked(true);
        }
    });
}

/// Those that are mixed in this page.
fn parties(snapshot: &AgentSnapshot, page: &str) -> Vec<MixedParty> {
    let parties = snapshot.conference.iter().filter_map(|party| {
        let call = snapshot.calls.iter().find(|call| call.id == party.call && call.page.as_deref() == Some(page))?;
        Some(MixedParty { call: party.call.clone(), is_heard: !party.muted && !call.remote_held })
    });
    parties.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcall_wire::agent_protocol::{self, CallSnapshot, CallState};

    use crate::test_call;

    /// The parties that are heard, of `a`, `b` and `c`.
    fn heard(change: impl Fn(&mut AgentSnapshot)) -> Vec<String> {
        let call = |id: &str| CallSnapshot { page: Some("here".to_owned()), ..test_call::call(id, CallState::Active) };
        let party = |id: &str| agent_protocol::Party { call: id.to_owned(), muted: false };
        let mut snapshot = AgentSnapshot {
            calls: ["a", "b", "c"].map(call).to_vec(),
            conference: ["c", "a"].map(party).to_vec(),
            ..AgentSnapshot::default()
        };
        change(&mut snapshot);
        parties(&snapshot, "here").into_iter().filter(|party| party.is_heard).map(|party| party.call).collect()
    }

    #[test]
    fn a_party_is_heard_unless_it_is_muted_or_has_us_on_hold_and_may_play_music() {
        assert_eq!(heard(|_| ()), ["c", "a"]);
        assert_eq!(heard(|snapshot| snapshot.conference[0].muted = true), ["a"]);
        assert_eq!(heard(|snapshot| snapshot.calls[0].remote_held = true), ["c"]);
    }

    #[test]
    fn the_conference_of_another_page_is_not_mixed_here() {
        let moves = |snapshot: &mut AgentSnapshot| {
            for call in &mut snapshot.calls {
                call.page = Some("there".to_owned());
            }
        };
        assert!(heard(moves).is_empty());
    }

    #[test]
    fn what_concerns_a_party_concerns_all() {
        let party = |call: &str| MixedParty { call: call.to_owned(), is_heard: true };
        let conference = Conference { parties: vec![party("a"), party("b")], ..Conference::default() };
        assert_eq!(conference.together("b"), ["b", "a"]);
        assert_eq!(conference.together("c"), ["c"]);
    }
}
