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
    pub authorized: bool,
    last_activity: Millis,
    /// Grows with every page that comes or becomes visible.
    rank: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Pages {
    attached: Vec<Page>,
    /// Given up, but their ports are still there: a frozen page may wake up.
    silent: Vec<Page>,
    ranks: u64,
}

impl Pages {
    /// A page that attaches again, on whatever port, replaces its former self.
    pub fn attach(&mut self, port: PortId, name: &str, visible: bool, now: Millis) {
        self.attached.retain(|page| page.port != port && page.name != name);
        self.silent.retain(|page| page.port != port && page.name != name);
        self.ranks += 1;
        self.attached.push(Page {
            port,
            name: name.to_owned(),
            visible,
            authorized: false,
            last_activity: now,
            rank: self.ranks,
        });
    }

    pub fn detach(&mut self, port: PortId) -> Option<Page> {
        self.silent.retain(|page| page.port != port);
        let index = self.attached.iter().position(|page| page.port == port)?;
        Some(self.attached.remove(index))
    }

    pub fn keep_alive(&mut self, port: PortId, visible: bool, now: Millis) {
        if let Some(page) = self.attached.iter_mut().find(|page| page.port == port) {
            page.last_activity = now;
            if visible && !page.visible {
                self.ranks += 1;
                page.rank = self.ranks;
            }
            page.visible = visible;
        }
    }

    /// Any message proves that the page lives. Returns it when it had been given up.
    pub fn record_activity(&mut self, port: PortId, now: Millis) -> Option<Page> {
        if let Some(page) = self.attached.iter_mut().find(|page| page.port == port) {
            page.last_activity = now;
            return None;
        }
        let index = self.silent.iter().position(|page| page.port == port)?;
        let mut page = self.silent.remove(index);
        page.last_activity = now;
        self.attached.push(page.clone());
        Some(page)
    }

    /// Gives up one page that has been silent for too long.
    pub fn remove_silent(&mut self, now: Millis) -> Option<Page> {
        let index = self.attached.iter().position(|page| page.deadline() <= now)?;
        let page = self.attached.remove(index);
        self.silent.push(page.clone());
        Some(page)
    }

    pub fn next_timeout(&self) -> Option<Millis> {
        self.attached.iter().map(Page::deadline).min()
    }

    /// False when the page was admitted before, or is not there.
    pub fn authorize(&mut self, port: PortId) -> bool {
        let page = self.attached.iter_mut().find(|page| page.port == port);
        page.is_some_and(|page| !std::mem::replace(&mut page.authorized, true))
    }

    /// The page that may ring aloud: the one looked at last.
    pub fn ringer(&self) -> Option<&Page> {
        self.iter().max_by_key(|page| (page.visible, page.rank))
    }

    pub fn by_port(&self, port: PortId) -> Option<&Page> {
        self.attached.iter().find(|page| page.port == port)
    }

    pub fn by_name(&self, name: &str) -> Option<&Page> {
        self.attached.iter().find(|page| page.name == name)
    }

    /// Those that were admitted.
    pub fn iter(&self) -> impl Iterator<Item = &Page> {
        self.attached.iter().filter(|page| page.authorized)
    }

    /// Nobody is there, not even a page that was not admitted.
    pub fn is_empty(&self) -> bool {
        self.attached.is_empty()
    }
}

impl Page {
    fn deadline(&self) -> Millis {
        self.last_activity.plus(if self.visible { PAGE_SILENCE_TIMEOUT_MS } else { HIDDEN_PAGE_SILENCE_TIMEOUT_MS })
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
        assert!(pages.authorize(1) && pages.authorize(2) && !pages.authorize(2));
        assert_eq!(pages.ringer().map(|page| page.port), Some(1));
        pages.keep_alive(2, true, Millis(1));
        assert_eq!(pages.ringer().map(|page| page.port), Some(2));
        // Both hidden: the newest.
        pages.keep_alive(1, false, Millis(2));
        pages.keep_alive(2, false, Millis(2));
        assert_eq!(pages.ringer().map(|page| page.port), Some(2));
    }

    #[test]
    fn a_silent_page_is_lost_a_throttled_one_is_not() {
        let mut pages = Pages::default();
        pages.attach(1, "a", true, Millis(0));
        pages.attach(2, "b", false, Millis(0));
        assert!(pages.remove_silent(Millis(11_999)).is_none());
        assert_eq!(pages.remove_silent(Millis(12_000)).map(|page| page.port), Some(1));
        assert!(pages.remove_silent(Millis(100_000)).is_none());
        assert!(pages.record_activity(1, Millis(100_000)).is_some_and(|page| page.name == "a"));
        assert!(pages.record_activity(1, Millis(100_001)).is_none());
    }
}
