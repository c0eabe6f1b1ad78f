//! Caller IDs: adds, deletes and chooses them, for this person on this device.

use super::App;
use crate::caller_ids::CallerIds;
use crate::ui::CallerIdAction;

/// Storage names of what a person has: the choice, which each call reads, apart from the list.
const CHOSEN: &str = "caller-id";
const LIST: &str = "caller-ids";

impl App {
    /// For calls without one of their own. Another tab may have chosen it.
    pub(super) fn chosen_caller_id(&self) -> Option<String> {
        let name = self.name_of(CHOSEN)?;
        self.with_tenant(|tenant| tenant.storage.get(&name))?
    }

    pub(super) fn handle_caller_id_action(&self, action: CallerIdAction) {
        let stored = self.stored_caller_ids();
        let mut ids = stored.clone();
        let done = match action {
            CallerIdAction::Load => Ok(()),
            CallerIdAction::Add(typed) => ids.add(&typed),
            CallerIdAction::Delete(id) => {
                ids.delete(&id);
                Ok(())
            }
            CallerIdAction::Choose(id) => {
                ids.chosen = id;
                Ok(())
            }
        };
        ids.error = done.err();
        if ids.error.is_none() && ids != stored {
            self.store_caller_ids(&ids);
            // Calls go by what is stored.
            let kept = self.stored_caller_ids();
            if kept != ids {
                let error =
                    "This browser keeps nothing for this page, so calls go on with the caller ID that they had.";
                ids = CallerIds { error: Some(error.to_owned()), ..kept };
            }
        }
        self.ui.caller_ids.set(ids);
    }

    fn stored_caller_ids(&self) -> CallerIds {
        let chosen = self.chosen_caller_id().unwrap_or_default();
        let list = self.name_of(LIST).and_then(|name| self.with_tenant(|tenant| tenant.storage.get(&name))?);
        CallerIds { list: list.unwrap_or_default(), chosen, error: None }
    }

    fn store_caller_ids(&self, ids: &CallerIds) {
        if let (Some(chosen), Some(list)) = (self.name_of(CHOSEN), self.name_of(LIST)) {
            self.with_tenant(|tenant| {
                tenant.storage.set(&list, &ids.list);
                tenant.storage.set(&chosen, &ids.chosen);
            });
        }
    }
}
