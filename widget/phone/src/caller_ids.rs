//! The caller IDs of one person on this device: those to choose from, and the one that calls are made with.

use bitcall_wire::number::call_target;

/// Stands for a caller who withholds the number (RFC 3323 §4.1.1.3).
pub const PRIVATE: &str = "anonymous";
pub const MAX_CALLER_IDS: usize = 20;

/// What the settings show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallerIds {
    pub list: Vec<String>,
    /// One of the list, or [`PRIVATE`], or nothing for that of the account.
    pub chosen: String,
    /// Why the last action was not carried out.
    pub error: Option<String>,
}

impl CallerIds {
    /// # Errors
    /// A sentence for the person that says what is wrong.
    pub fn add(&mut self, typed: &str) -> Result<(), String> {
        let mut id = call_target(typed)?;
        // Without a scheme it would be a name in the account's domain.
        let has_scheme = |id: &str| {
            id.split_once(':').is_some_and(|(start, _)| ["sip", "sips"].iter().any(|it| start.eq_ignore_ascii_case(it)))
        };
        if id.contains('@') && !has_scheme(&id) {
            id.insert_str(0, "sip:");
        }
        if self.list.contains(&id) {
            return Err(format!("“{id}” is in the list already."));
        }
        if self.list.len() >= MAX_CALLER_IDS {
            return Err(format!(
                "There are {MAX_CALLER_IDS} caller IDs, which is the most. Delete one, then add “{id}”."
            ));
        }
        self.list.push(id);
        Ok(())
    }

    /// Whoever deletes the chosen one calls with that of the account again.
    pub fn delete(&mut self, id: &str) {
        self.list.retain(|other| other != id);
        if self.chosen == id {
            self.chosen.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_caller_id_is_added_as_a_number_or_an_address_and_each_once() {
        let mut ids = CallerIds::default();
        for typed in ["+1 (555) 010-0200", "sales", "sales@shop.test:5070", "sip:a@b.test"] {
            ids.add(typed).unwrap();
        }
        assert_eq!(ids.list, ["+15550100200", "sales", "sip:sales@shop.test:5070", "sip:a@b.test"]);
        assert_eq!(ids.add("+15550100200").unwrap_err(), "“+15550100200” is in the list already.");
        assert_eq!(ids.list.len(), 4);
    }

    #[test]
    fn a_name_that_begins_like_a_scheme_is_an_address_all_the_same() {
        let mut ids = CallerIds::default();
        ids.add("sipho@shop.test").unwrap();
        assert_eq!(ids.list, ["sip:sipho@shop.test"]);
    }

    #[test]
    fn a_refusal_says_what_is_wrong_and_changes_nothing() {
        let mut ids = CallerIds::default();
        assert_eq!(ids.add("  ").unwrap_err(), "Enter a number first.");
        assert!(ids.add("1+2").unwrap_err().contains("at the beginning"));
        assert!(ids.add("a@b\r\nVia: x").unwrap_err().contains("must not stand in a SIP address"));
        assert!(ids.add("Anonymous").is_err());
        for n in 0..MAX_CALLER_IDS {
            ids.add(&n.to_string()).unwrap();
        }
        let many = ids.add("100").unwrap_err();
        assert_eq!(many, "There are 20 caller IDs, which is the most. Delete one, then add “100”.");
        assert_eq!(ids.list.len(), MAX_CALLER_IDS);
    }

    #[test]
    fn who_deletes_the_chosen_one_calls_with_that_of_the_account() {
        let mut ids = CallerIds { list: vec!["1".into(), "2".into()], chosen: "1".into(), error: None };
        ids.delete("2");
        assert_eq!(ids.chosen, "1");
        ids.delete("1");
        assert_eq!((ids.list.len(), ids.chosen.as_str()), (0, ""));
    }
}
