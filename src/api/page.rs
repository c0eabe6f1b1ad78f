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

    /// Whether an item of this name comes after the cursor.
    fn is_after(&self, name: &str) -> bool {
        self.cursor.as_deref().is_none_or(|cursor| name > cursor)
    }

    /// Items after the cursor that must be fetched to know whether a further page follows.
    pub fn fetch_count(&self) -> usize {
        self.limit.saturating_add(1)
    }

    /// Of `items`, which are in the order of their names: those of this page, and the cursor of the next page. Items up
    /// to the page's own cursor are skipped.
    pub fn take<T>(&self, items: impl IntoIterator<Item = T>, name: impl Fn(&T) -> &str) -> (Vec<T>, Option<String>) {
        let behind = items.into_iter().filter(|item| self.is_after(name(item)));
        let mut items: Vec<T> = behind.take(self.fetch_count()).collect();
        let more = items.len() > self.limit;
        items.truncate(self.limit);
        let next_cursor = items.last().filter(|_| more).map(|last| name(last).to_owned());
        (items, next_cursor)
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
    fn pages_cover_all_items_without_a_gap_and_the_last_has_no_cursor() {
        let all = ["a", "b", "c", "d", "e"];
        for limit in 1..=6 {
            let mut page = PageRequest { cursor: None, limit };
            let mut seen = Vec::new();
            loop {
                let (items, next) = page.take(all, |name| name);
                assert!(!items.is_empty() && items.len() <= limit);
                seen.extend(items);
                match next {
                    Some(next) => page.cursor = Some(next),
                    None => break,
                }
            }
            assert_eq!(seen, all, "{limit} at a time");
        }
    }
}
