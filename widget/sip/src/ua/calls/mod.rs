//! Calls: one INVITE session each, with all the dialogs it may fork into.
//!
//! A call lives longer than the person sees it. [`Event::Ended`] is told at
//! once; what is left (a CANCEL that waits for a provisional response, a 2xx
//! that crosses it, a BYE to be sent once the connection is back) is done
//! by the same object, which then disappears on its own time limit.

mod dispatch;
mod incoming;
mod info;
mod outgoing;
mod recovery;
mod reinvite;
mod session_timer;
mod termination;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::context::{Asked, Core, Owner, Role};
use super::interface::{CallId, Cause, EndedBy, Event, Millis, OfferReason};
use crate::dialog::Dialog;
use crate::request_template::Draft;
use crate::time::Alarms;
use crate::transaction::{T1, T2, TIMEOUT};
use session_timer::SessionTimer;

/// An answer asked for by [`Event::Offer`] must be there by then.
const OFFER_PATIENCE: u64 = 20_000;

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Call {
    pub(super) id: CallId,
    /// SIP Call-ID.
    pub(super) sip_id: String,
    pub(super) local_tag: String,
    /// We sent the INVITE and chose the Call-ID.
    outgoing: bool,
    stage: Stage,
    /// `Ended` has been told.
    told: bool,
    /// Dialogs by remote tag, early ones included; a called one has exactly one.
    legs: Vec<Leg>,
    /// Index of the leg that was answered.
    chosen: Option<usize>,
    exchange: Exchange,
    /// The driver wants to offer, or must be asked to, as soon as the exchange is over.
    due: Option<OfferReason>,
    /// Our 2xx until its ACK comes.
    accepted: Option<Accepted>,
    timer: SessionTimer,
    infos: VecDeque<(String, String)>,
    /// Without signalling since the connection broke; a re-INVITE proves that it is back.
    detached: bool,
    alarms: Alarms<Alarm>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    /// Outgoing, no final response.
    Calling {
        branch: String,
        cancel: Cancel,
    },
    /// Incoming, no final response of ours.
    Ringing {
        asked: Asked,
    },
    /// Incoming, our 2xx waits for its ACK.
    Answered,
    Up,
    /// A BYE is under way, or waits for a connection.
    Leaving {
        bye: bool,
    },
    /// Only here for what may still come in.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Cancel {
    No,
    /// To be sent after the first provisional response (RFC 3261 §9.1), or on the next connection.
    Wanted,
    Sent,
}

/// Offer and answer (RFC 3264, RFC 6337): at most one exchange at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Exchange {
    Idle,
    /// Our re-INVITE is pending.
    Ours,
    /// The far end's re-INVITE or UPDATE waits for the driver.
    Theirs {
        asked: Asked,
        offered: bool,
    },
    /// Our 2xx is out, with an offer of ours if `offered`; its ACK ends the exchange.
    Closing {
        offered: bool,
    },
    /// The 2xx to our INVITE without offer carried one; the ACK waits for the driver.
    Late {
        cseq: u32,
    },
}

#[derive(Clone, Serialize, Deserialize)]
struct Leg {
    dialog: Dialog,
    /// The last provisional answer.
    early_sdp: Option<String>,
    /// Last reliable provisional response (RFC 3262): the far end's, or ours that has no PRACK yet.
    rseq: Option<u32>,
    /// The last ACK for a 2xx, and the INVITE's number.
    ack: Option<(u32, Vec<u8>)>,
}

/// A 2xx of ours that is repeated until the ACK comes (RFC 3261 §13.3.1.4).
#[derive(Clone, Serialize, Deserialize)]
struct Accepted {
    cseq: u32,
    bytes: Vec<u8>,
    pause: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Alarm {
    /// It rang long enough.
    Ring,
    /// Repeat our 2xx.
    Repeat,
    /// No ACK came.
    NoAck,
    /// The driver did not answer an offer.
    NoAnswer,
    /// Our turn to offer again (RFC 3261 §14.1).
    Glare,
    /// Ask for the recovering offer again.
    Recover,
    /// Without signalling for too long.
    GiveUp,
    /// Send the session refresh.
    Refresh,
    /// The far end did not refresh the session.
    Expired,
    /// Repeat our reliable provisional response.
    Rering,
    /// Forget the call.
    Gone,
}

impl Call {
    fn new(id: CallId, sip_id: String, local_tag: String, stage: Stage) -> Self {
        Self {
            id,
            sip_id,
            local_tag,
            outgoing: false,
            stage,
            told: false,
            legs: Vec::new(),
            chosen: None,
            exchange: Exchange::Idle,
            due: None,
            accepted: None,
            timer: SessionTimer::default(),
            infos: VecDeque::new(),
            detached: false,
            alarms: Alarms::default(),
        }
    }

    /// The person still sees it.
    pub(super) fn is_live(&self) -> bool {
        !self.told
    }

    /// Nothing will happen to it any more.
    pub(super) fn is_gone(&self) -> bool {
        self.told && self.stage == Stage::Over && self.alarms.next().is_none()
    }

    pub(super) fn deadline(&self) -> Option<Millis> {
        self.alarms.next()
    }

    fn leg(&mut self) -> Option<&mut Leg> {
        self.legs.get_mut(self.chosen?)
    }

    fn owner(&self, role: Role) -> Owner {
        Owner::Call { call: self.id.clone(), role }
    }

    /// A request in the answered dialog, with our Contact.
    fn draft(&mut self, core: &Core, method: &str) -> Option<Draft> {
        let leg = self.leg()?;
        let mut draft = leg.dialog.request(method);
        if matches!(method, "INVITE" | "UPDATE") {
            draft = draft
                .with("Contact", &core.contact())
                .with("Allow", super::context::ALLOW)
                .with("Supported", super::context::SUPPORTED);
        }
        Some(draft)
    }

    /// Tells the end, once.
    fn tell_end(&mut self, core: &mut Core, by: EndedBy, words: &str, sip_code: Option<u16>) {
        if self.told {
            return;
        }
        self.told = true;
        core.tell(Event::Ended { call: self.id.clone(), cause: Cause { by, words: words.into(), sip_code } });
    }

    /// Nothing more to send. Stays a while for messages that were on their way.
    fn over(&mut self, now: Millis) {
        self.stage = Stage::Over;
        self.exchange = Exchange::Idle;
        self.accepted = None;
        self.due = None;
        self.infos.clear();
        self.alarms.clear_all();
        self.alarms.set(Alarm::Gone, now.plus(TIMEOUT));
    }

    pub(super) fn on_time(&mut self, core: &mut Core, now: Millis) -> bool {
        let Some(alarm) = self.alarms.due(now) else {
            return false;
        };
        match alarm {
            Alarm::Ring => self.on_rung_out(core, now),
            Alarm::Repeat => self.repeat_accepted(core, now),
            Alarm::NoAck => self.on_no_ack(core, now),
            Alarm::NoAnswer => self.on_no_answer(core, now),
            Alarm::Glare => self.ask_for_offer(core, OfferReason::Glare),
            Alarm::Recover => self.recover(core, now),
            Alarm::GiveUp => self.give_up(core, now),
            Alarm::Refresh => self.refresh(core, now),
            Alarm::Expired => self.on_expired(core, now),
            Alarm::Rering => self.repeat_ringing(core, now),
            Alarm::Gone => {
                if matches!(self.stage, Stage::Ringing { .. }) {
                    self.refuse_call(core, 480, EndedBy::Network, "Connection lost", now);
                }
                self.stage = Stage::Over;
                self.alarms.clear_all();
            }
        }
        true
    }

    /// Keeps a 2xx to repeat it until its ACK comes.
    fn keep_accepted(&mut self, cseq: u32, bytes: Vec<u8>, now: Millis) {
        self.accepted = Some(Accepted { cseq, bytes, pause: T1 });
        self.alarms.set(Alarm::Repeat, now.plus(T1));
        self.alarms.set(Alarm::NoAck, now.plus(TIMEOUT));
    }

    fn repeat_accepted(&mut self, core: &mut Core, now: Millis) {
        if let Some(accepted) = &mut self.accepted {
            core.send(accepted.bytes.clone());
            accepted.pause = (accepted.pause * 2).min(T2);
            self.alarms.set(Alarm::Repeat, now.plus(accepted.pause));
        }
    }

    /// The far end never acknowledged: the session is not one (RFC 3261 §13.3.1.4, §14.2).
    fn on_no_ack(&mut self, core: &mut Core, now: Millis) {
        self.accepted = None;
        self.alarms.clear(Alarm::Repeat);
        self.tell_end(core, EndedBy::Network, "No acknowledgement", None);
        self.say_bye(core, now);
    }

    /// The far end's ACK for a 2xx of ours.
    pub(super) fn on_ack(&mut self, core: &mut Core, cseq: u32, sdp: Option<String>, now: Millis) {
        if self.accepted.as_ref().is_none_or(|accepted| accepted.cseq != cseq) {
            return;
        }
        self.accepted = None;
        self.alarms.clear(Alarm::Repeat);
        self.alarms.clear(Alarm::NoAck);
        let offered = self.exchange == Exchange::Closing { offered: true };
        self.exchange = Exchange::Idle;
        match self.stage {
            Stage::Answered => {
                self.stage = Stage::Up;
                if self.told {
                    // Hung up before the ACK: only now may the BYE go (RFC 3261 §15).
                    self.say_bye(core, now);
                    return;
                }
                if offered && sdp.is_none() {
                    self.tell_end(core, EndedBy::Remote, "No common audio format", None);
                    self.say_bye(core, now);
                    return;
                }
                core.tell(Event::Confirmed { call: self.id.clone(), sdp: sdp.filter(|_| offered) });
                self.on_idle(core);
            }
            Stage::Up => {
                if offered {
                    let call = self.id.clone();
                    core.tell(match sdp {
                        Some(sdp) => Event::ReinviteAccepted { call, sdp },
                        None => Event::ReinviteRefused { call, status: 488, again: false },
                    });
                }
                self.on_idle(core);
            }
            _ => {}
        }
    }
}
