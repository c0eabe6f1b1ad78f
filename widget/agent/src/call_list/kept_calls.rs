//! Calls outlive their agent, which ends with the last page (Firefox ends a `SharedWorker` on a reload of it; without
//! one the agent runs in the page).
//!
//! The page that owns an established call keeps a record of it for the next page in its tab. An agent that does not run
//! yet takes those calls in, detached and without a page: they are picked up as after a reload, once the server has
//! registered us. A record counts for 60 s, and only for the user agent (account and SIP instance) that made it. A second
//! page with a copy of the record, as in a duplicated tab, has another instance id, or shares the running agent.

use bitcall_sip::ua::{Command, DialogRecord, Millis, UserAgent};
use bitcall_wire::agent_protocol::{CallSnapshot, KeptCalls, Party, ToPage};
use bitcall_wire::encoding;
use serde::{Deserialize, Serialize};

use super::{CallList, CallListOutput};
use crate::call::{Call, Owner};

/// The first character of a record. It changes with every change of what follows.
const VERSION: char = '2';
/// The time for a page to be loaded again.
const MAX_AGE_MS: u64 = 60_000;

#[derive(Serialize, Deserialize)]
struct Record {
    username: String,
    domain: String,
    instance_id: String,
    calls: Vec<CallSnapshot>,
    /// Of each of them.
    dialogs: Vec<DialogRecord>,
    /// Those that are in conference.
    parties: Vec<Party>,
}

impl CallList {
    /// Tells each page what to keep, where that has changed; false if nothing has.
    pub fn keep_calls(&mut self, user_agent: &UserAgent) -> bool {
        let Some(account) = &self.account else {
            return false;
        };
        let mut has_changed = false;
        for page in self.pages.iter_mut() {
            let (mut calls, mut dialogs) = (Vec::new(), Vec::new());
            for call in self.calls.iter().filter(|call| call.is_active() && call.owner.is(&page.name)) {
                if let Some(dialog) = user_agent.dialog_record(&call.dialog) {
                    calls.push(call.snapshot());
                    dialogs.push(dialog);
                }
            }
            let mut record = String::new();
            if !calls.is_empty() {
                let is_kept = |party: &&Party| calls.iter().any(|call| call.id == party.call);
                let kept = Record {
                    parties: self.conference.parties().iter().filter(is_kept).cloned().collect(),
                    username: account.username.clone(),
                    domain: account.domain.clone(),
                    instance_id: account.instance_id.clone(),
                    calls,
                    dialogs,
                };
                record.push(VERSION);
                record.extend(encoding::to_bytes(&kept).into_iter().map(char::from));
            }
            if page.kept != record {
                page.kept.clone_from(&record);
                has_changed = true;
                self.out.push_back(CallListOutput::ToPage { port: page.port, message: ToPage::Keep { record } });
            }
        }
        has_changed
    }

    /// Takes in the calls of an earlier agent, if the record is of this user agent and fresh.
    pub(super) fn restore_calls(&mut self, kept: Option<KeptCalls>, now: Millis) {
        let Some(record) = kept.filter(|kept| kept.age_ms <= MAX_AGE_MS).and_then(|kept| read(&kept.record)) else {
            return;
        };
        let is_ours = self.account.as_ref().is_some_and(|account| {
            (&account.username, &account.domain, &account.instance_id)
                == (&record.username, &record.domain, &record.instance_id)
        });
        if !is_ours {
            return;
        }
        for (call, dialog) in record.calls.into_iter().zip(record.dialogs) {
            let owner = Owner::Orphan { page: String::new(), until: now.plus(MAX_AGE_MS) };
            // Under the call's own id: this agent numbers the INVITEs with Replaces anew.
            self.command(Command::Restore { call: call.id.clone(), dialog: Box::new(dialog) });
            self.calls.push(Call::restored(call, owner));
        }
        self.conference.restore(record.parties);
    }
}

fn read(record: &str) -> Option<Record> {
    let bytes: Option<Vec<u8>> = record.strip_prefix(VERSION)?.chars().map(|char| u8::try_from(char).ok()).collect();
    encoding::from_bytes(&bytes?)
}
