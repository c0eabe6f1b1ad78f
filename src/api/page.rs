//! Pagination of lists: at most `limit` items at a time, after the `cursor`, which is the name of the previous page's
//! last item.

use super::form::{Form, integer, text};

const DEFAULT_ITEMS: u64 = 100;
const MAX_ITEMS: u64 = 1000;

/// The page that a request asks for.
pub struct PageRequest {
    pub cursor: Option<String>,
    pub limit: usize,
}

impl PageRequest {
    /// Reads `cursor` and `limit`, as a whole form or as part of one.
    #[allow(clippy::unnecessary_wraps)] // the shape of all forms
    pub fn read(form: &mut Form) -> Option<Self> {
        let cursor = form.optional("cursor", text());
        Some(Self { cursor, limit: limit(form) })
    }

    /// Whether a line with this name comes behind the page before.
    pub fn is_after(&self, name: &str) -> bool {
        self.cursor.as_deref().is_none_or(|cursor| name > cursor)
    }

    /// Items after the cursor that must be fetched to know whether a further page follows.
    pub fn fetch_count(&self) -> usize {
        self.limit.saturating_add(1)
    }

    /// Of the lines behind the cursor, in the order of their names: those of this page, and the cursor of the next one.
    pub fn take<T>(&self, lines: impl Iterator<Item = T>, name: impl Fn(&T) -> String) -> (Vec<T>, Option<String>) {
        let mut lines: Vec<T> = lines.take(self.fetch_count()).collect();
        let more = lines.len() > self.limit;
        lines.truncate(self.limit);
        let next_cursor = lines.last().filter(|_| more).map(name);
        (lines, next_cursor)
    }
}

/// The field `limit` alone.
pub fn limit(form: &mut Form) -> usize {
    let limit = form.optional("limit", integer(1..=MAX_ITEMS)).unwrap_or(DEFAULT_ITEMS);
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_without_a_gap_and_the_last_one_says_so() {
        let all = ["a", "b", "c", "d", "e"];
        for limit in 1..=6 {
            let mut page = PageRequest { cursor: None, limit };
            let mut seen = Vec::new();
            loop {
                let behind = all.into_iter().filter(|name| page.is_after(name));
                let (lines, next) = page.take(behind, |name| (*name).to_owned());
                assert!(!lines.is_empty() && lines.len() <= limit);
                seen.extend(lines);
                match next {
                    Some(next) => page.cursor = Some(next),
                    None => break,
                }
            }
            assert_eq!(seen, all, "{limit} at a time");
        }
    }
}
