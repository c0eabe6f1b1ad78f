//! Who is attached, and who may ring.

use bitcall_sip::ua::Millis;

/// Names a message port towards the driver.
pub type PortId = u32;

/// A page says that it is there every 5 s; without that for this long, it crashed.
const PAGE_SILENCE_TIMEOUT_MS: u64 = 12_000;
/// Browsers let hidden pages run timers once a minute only.
const HIDDEN_PAGE_SILENCE_TIMEOUT_MS: u64 = 130_000;

#[derive(Clone, Debug)]
pub struct Page {
    pub port: PortId,
    pub name: String,
    pub visible: bool,
    /// It has shown that it knows the account's secret. A page that has not sees
    /// no calls and commands nothing.
    pub admitted: bool,
    heard: Millis,
    /// Grows with every page that comes or becomes visible.
    rank: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Pages {
    list: Vec<Page>,
    /// Given up, but their ports are still there: a frozen page may wake up.
    silent: Vec<Page>,
    ranks: u64,
}

impl Pages {
    /// A page that attaches again, on whatever port, replaces its former self.
    pub fn attach(&mut self, port: PortId, name: &str, visible: bool, now: Millis) {
        self.list.retain(|page| page.port != port && page.name != name);
        self.silent.retain(|page| page.port != port && page.name != name);
        self.ranks += 1;
        self.list.push(Page { port, name: name.to_owned(), visible, admitted: false, heard: now, rank: self.ranks });
    }

    pub fn detach(&mut self, port: PortId) -> Option<Page> {
        self.silent.retain(|page| page.port != port);
        let index = self.list.iter().position(|page| page.port == port)?;
        Some(self.list.remove(index))
    }

    pub fn alive(&mut self, port: PortId, visible: bool, now: Millis) {
        if let Some(page) = self.list.iter_mut().find(|page| page.port == port) {
            page.heard = now;
            if visible && !page.visible {
                self.ranks += 1;
                page.rank = self.ranks;
            }
            page.visible = visible;
        }
    }

    /// Any message proves that the page lives. Returns it when it had been given up.
    pub fn heard(&mut self, port: PortId, now: Millis) -> Option<Page> {
        if let Some(page) = self.list.iter_mut().find(|page| page.port == port) {
            page.heard = now;
            return None;
        }
        let index = self.silent.iter().position(|page| page.port == port)?;
        let mut page = self.silent.remove(index);
        page.heard = now;
        self.list.push(page.clone());
        Some(page)
    }

    /// Gives up one page that has been silent for too long.
    pub fn lost(&mut self, now: Millis) -> Option<Page> {
        let index = self.list.iter().position(|page| page.deadline() <= now)?;
        let page = self.list.remove(index);
        self.silent.push(page.clone());
        Some(page)
    }

    pub fn next_timeout(&self) -> Option<Millis> {
        self.list.iter().map(Page::deadline).min()
    }

    /// False when the page was admitted before, or is not there.
    pub fn admit(&mut self, port: PortId) -> bool {
        let page = self.list.iter_mut().find(|page| page.port == port);
        page.is_some_and(|page| !std::mem::replace(&mut page.admitted, true))
    }

    /// The page that may ring aloud: the one looked at last.
    pub fn ringer(&self) -> Option<&Page> {
        self.iter().max_by_key(|page| (page.visible, page.rank))
    }

    pub fn by_port(&self, port: PortId) -> Option<&Page> {
        self.list.iter().find(|page| page.port == port)
    }

    pub fn by_name(&self, name: &str) -> Option<&Page> {
        self.list.iter().find(|page| page.name == name)
    }

    /// Those that were admitted.
    pub fn iter(&self) -> impl Iterator<Item = &Page> {
        self.list.iter().filter(|page| page.admitted)
    }

    /// Nobody is there, not even a page that was not admitted.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl Page {
    fn deadline(&self) -> Millis {
        self.heard.plus(if self.visible { PAGE_SILENCE_TIMEOUT_MS } else { HIDDEN_PAGE_SILENCE_TIMEOUT_MS })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_looked_at_last_rings() {
        let mut pages = Pages::default();
        pages.attach(1, "a", true, Millis(0));
        pages.attach(2, "b", false, Millis(0));
        assert!(pages.ringer().is_none());
        assert!(pages.admit(1) && pages.admit(2) && !pages.admit(2));
        assert_eq!(pages.ringer().map(|page| page.port), Some(1));
        pages.alive(2, true, Millis(1));
        assert_eq!(pages.ringer().map(|page| page.port), Some(2));
        // Both hidden: the newest.
        pages.alive(1, false, Millis(2));
        pages.alive(2, false, Millis(2));
        assert_eq!(pages.ringer().map(|page| page.port), Some(2));
    }

    #[test]
    fn a_silent_page_is_lost_a_throttled_one_is_not() {
        let mut pages = Pages::default();
        pages.attach(1, "a", true, Millis(0));
        pages.attach(2, "b", false, Millis(0));
        assert!(pages.lost(Millis(11_999)).is_none());
        assert_eq!(pages.lost(Millis(12_000)).map(|page| page.port), Some(1));
        assert!(pages.lost(Millis(100_000)).is_none());
        assert!(pages.heard(1, Millis(100_000)).is_some_and(|page| page.name == "a"));
        assert!(pages.heard(1, Millis(100_001)).is_none());
    }
}
