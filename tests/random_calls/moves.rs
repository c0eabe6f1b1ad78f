//! What a person, a far end, the network and the browser do.

use super::model::Model;
use super::{FAR_ENDS, Hands, Number, PERSON, RandomCalls};
use crate::rig::wait::until;

#[derive(Clone, Copy, Debug)]
pub enum Move {
    Dials,
    Rings(Reaction),
    Holds,
    Switches,
    Mutes,
    HangsUp,
    TakesOver,
    /// Merges the displayed call with another.
    Merges,
    MutesParty,
    HoldsParty,
    TalksToPartyAlone,
    DropsParty,
    Records,
    Parks,
    PicksUp,
    /// To a number that does not exist.
    TransfersInVain,
    Reloads,
    LosesWebSockets,
    FarHangsUp,
    FarMoves,
    FarLosesPath,
    FarRefreshes,
    FarSaysSomething,
    ServerRestarts,
}

#[derive(Clone, Copy, Debug)]
pub enum Reaction {
    Answers,
    EndsAndAnswers,
    Declines,
    /// The caller gives up.
    Waits,
}

const MOVES: &[Move] = &[
    Move::Dials,
    Move::Dials,
    Move::Rings(Reaction::Answers),
    Move::Rings(Reaction::Answers),
    Move::Rings(Reaction::EndsAndAnswers),
    Move::Rings(Reaction::Declines),
    Move::Rings(Reaction::Waits),
    Move::Holds,
    Move::Holds,
    Move::Switches,
    Move::Switches,
    Move::Mutes,
    Move::Mutes,
    Move::HangsUp,
    Move::TakesOver,
    Move::TakesOver,
    Move::Merges,
    Move::Merges,
    Move::Merges,
    Move::MutesParty,
    Move::HoldsParty,
    Move::TalksToPartyAlone,
    Move::DropsParty,
    Move::Records,
    Move::Parks,
    Move::PicksUp,
    Move::PicksUp,
    Move::TransfersInVain,
    Move::Reloads,
    Move::LosesWebSockets,
    Move::FarHangsUp,
    Move::FarMoves,
    Move::FarLosesPath,
    Move::FarRefreshes,
    Move::FarSaysSomething,
    Move::ServerRestarts,
];

impl Move {
    /// What others do comes at a moment that the model knows.
    pub fn waits_for_rest(self) -> bool {
        !matches!(self, Self::Holds | Self::Switches | Self::Mutes | Self::HangsUp | Self::MutesParty | Self::Records)
    }
}

impl RandomCalls<'_> {
    pub fn choose(&mut self) -> Move {
        MOVES[self.random.below(MOVES.len())]
    }

    /// Does it, and tells the model. False where it makes no sense now.
    pub async fn does(&mut self, what: Move) -> bool {
        let n = self.random.below(FAR_ENDS.len());
        let page = self.random.below(self.pages.len());
        let displayed = self.model.displayed.filter(|d| self.model.calls.contains_key(d));
        let is_up = self.model.calls.contains_key(&n);
        let is_free = !is_up && self.model.parked != Some(n);
        let in_conference = displayed.is_some_and(|d| self.model.together.contains(&d));
        let is_party = in_conference && self.model.together.contains(&n) && !self.model.is_held(n);
        // Where the media of the displayed call are.
        let there = displayed.map_or(page, |d| self.model.calls[&d].page);
        let name = FAR_ENDS[n].name;
        self.log.push(format!("{what:?}: {name}, page {page}; displayed {displayed:?}"));
        match (what, displayed) {
            (Move::Dials, _) if is_free => {
                self.dials(page, FAR_ENDS[n].number).await;
                self.begins(n, page);
            }
            (Move::Rings(reaction), _) if is_free => self.rings(n, page, reaction).await,
            (Move::Holds, Some(d)) => {
                self.presses(there, "Hold").await;
                self.model.hold_displayed(d);
            }
            (Move::Switches, Some(d)) if is_up && d != n && !self.model.together.contains(&n) => {
                self.presses(page, &format!("Switch to {name}")).await;
                self.model.talks(n);
            }
            (Move::Mutes, Some(d)) if !in_conference => {
                self.presses(there, "Mute").await;
                let call = self.model.call(d);
                call.muted = !call.muted;
            }
            (Move::HangsUp, Some(d)) if !in_conference => {
                self.presses(there, "Hang up").await;
                self.model.end(d);
            }
            (Move::TakesOver, Some(d)) if page != there && !self.model.is_held(d) => {
                self.presses(page, "Take over here").await;
                self.model.call(d).page = page;
            }
            (Move::Merges, Some(d)) if self.may_merge(d, n) => {
                self.presses(page, &format!("Merge with {name}")).await;
                self.model.merge(d, n);
            }
            (Move::MutesParty, Some(_)) if is_party => {
                self.presses(page, &format!("Mute {name}")).await;
                let call = self.model.call(n);
                call.party_muted = !call.party_muted;
            }
            (Move::HoldsParty, Some(d)) if is_party => {
                self.presses(page, &format!("Hold {name}")).await;
                self.model.leave(n);
                self.model.call(n).held = true;
                if d == n {
                    self.model.displayed = self.model.talking().first().copied();
                }
            }
            (Move::TalksToPartyAlone, Some(_)) if is_party => {
                self.presses(page, &format!("Talk to {name} alone")).await;
                self.model.leave(n);
                self.model.talks(n);
            }
            (Move::DropsParty, Some(_)) if is_party => {
                self.presses(page, &format!("Drop {name}")).await;
                self.model.end(n);
            }
            (Move::Records, Some(_)) => self.presses(there, "Record").await,
            (Move::Parks, Some(d)) if !in_conference && self.model.parked.is_none() => {
                self.transfers(there, "700").await;
                self.model.end(d);
                self.model.parked = Some(d);
            }
            (Move::PicksUp, _) if self.model.parked.is_some() => {
                let parked = self.model.parked.take().unwrap();
                self.dials(page, "701").await;
                self.begins(parked, page);
            }
            (Move::TransfersInVain, Some(d)) if !in_conference && !self.model.is_held(d) => {
                self.transfers(there, "999").await;
                self.pages[there].frame.sees("was not reached").await;
            }
            (Move::Reloads, _) => self.pages[page].reload().await,
            (Move::LosesWebSockets, _) => self.b2bua.cut_connections(),
            (Move::FarHangsUp, _) if is_up => {
                self.far[n].hangs_up();
                self.model.end(n);
            }
            (Move::FarMoves, _) if is_up && !self.model.is_held(n) => self.far[n].moves(),
            (Move::FarLosesPath, _) if is_up => {
                self.far[n].loses_path();
                if self.model.heard_by(n, PERSON).contains(&PERSON) {
                    self.far[n].hears_no_more(PERSON).await;
                }
            }
            (Move::FarRefreshes, _) if is_up => self.far[n].refreshes(),
            (Move::FarSaysSomething, _) if is_up => self.far[n].says("Hello"),
            (Move::ServerRestarts, _) if self.random.below(3) == 0 => {
                self.b2bua.restarts();
                self.model = Model::default();
                for page in &self.pages {
                    page.ready().await;
                }
            }
            _ => {
                self.log.pop();
                return false;
            }
        }
        true
    }

    /// Merging takes calls whose media are in one page, one of which is displayed and talks.
    fn may_merge(&self, displayed: Number, n: Number) -> bool {
        let model = &self.model;
        let (Some(one), Some(other)) = (model.calls.get(&displayed), model.calls.get(&n)) else { return false };
        let apart = model.together.is_empty() || model.together.contains(&displayed);
        let muted = model.calls.values().any(|call| call.muted);
        self.pages.len() == 1 && apart && !model.together.contains(&n) && !one.held && other.held && !muted
    }

    fn begins(&mut self, n: Number, page: usize) {
        self.model.talks(n);
        self.model.call(n).page = page;
    }

    async fn rings(&mut self, n: Number, page: usize, reaction: Reaction) {
        self.far[n].calls();
        self.pages[page].frame.sees("Incoming").await;
        let is_first = self.model.calls.is_empty();
        match reaction {
            Reaction::Declines => self.presses(page, "Decline").await,
            Reaction::Waits => {
                self.far[n].hangs_up();
                self.gone(page, "Incoming").await;
            }
            _ if is_first => {
                self.presses(page, "Answer").await;
                self.begins(n, page);
            }
            Reaction::EndsAndAnswers if !self.model.talking().is_empty() => {
                self.presses(page, "End & Answer").await;
                self.model.talking().into_iter().for_each(|n| self.model.end(n));
                self.begins(n, page);
            }
            Reaction::Answers | Reaction::EndsAndAnswers => {
                self.presses(page, "Hold & Answer").await;
                self.begins(n, page);
            }
        }
    }

    async fn dials(&self, page: usize, number: &str) {
        self.pages[page].host_page.eval(&format!("BitcallWebphone.call('{number}')")).await;
    }

    async fn transfers(&self, page: usize, target: &str) {
        self.presses(page, "Transfer").await;
        let frame = &self.pages[page].frame;
        match self.hands {
            Hands::Mouse => frame.fill("textbox", "Phone number", target).await,
            Hands::Script => frame.fill_by_script("Phone number", target).await,
        }
        self.presses(page, "Transfer").await;
    }

    async fn presses(&self, page: usize, name: &str) {
        let frame = &self.pages[page].frame;
        match self.hands {
            Hands::Mouse => frame.click("button", name).await,
            Hands::Script => frame.press_by_script(name).await,
        }
    }

    async fn gone(&self, page: usize, words: &str) {
        let frame = &self.pages[page].frame;
        until(&format!("{words:?} to go"), async || {
            let text = frame.text().await;
            if text.contains(words) { Err(text) } else { Ok(()) }
        })
        .await;
    }
}
