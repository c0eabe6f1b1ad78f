//! The attached pages, and the one that may ring.

use bitcall_sip::ua::Millis;

/// Identifies a message port of the driver.
pub type PortId = u32;

/// A page sends `Alive` every 5 s. Without any message for this time it is taken to have crashed.
const PAGE_SILENCE_TIMEOUT_MS: u64 = 12_000;
/// The same for a hidden page: browsers run its timers only once a minute.
const HIDDEN_PAGE_SILENCE_TIMEOUT_MS: u64 = 130_000;

#[derive(Clone, Debug)]
pub struct Page {
    pub port: PortId,
    pub name: String,
    pub visible: bool,
    /// The page has signed in with the account's secret. Other pages get no calls, and their
    /// commands are ignored.
    pub authorized: bool,
    last_activity: Millis,
    /// What it was told to keep last.
    pub kept: String,
    /// Set to a higher value when the page attaches or becomes visible.
    rank: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Pages {
    attached: Vec<Page>,
    /// Removed for silence. Their ports still exist: a frozen page may resume.
    silent: Vec<Page>,
    ranks: u64,
}

impl Pages {
    /// Adds the page. An earlier entry with the same name or port is replaced.
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
            kept: String::new(),
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

    /// Every message counts as activity. Returns the page if it had been removed for silence.
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

    /// Removes one page that has been silent for too long.
    pub fn remove_silent(&mut self, now: Millis) -> Option<Page> {
        let index = self.attached.iter().position(|page| page.deadline() <= now)?;
        let page = self.attached.remove(index);
        self.silent.push(page.clone());
        Some(page)
    }

    pub fn next_timeout(&self) -> Option<Millis> {
        self.attached.iter().map(Page::deadline).min()
    }

    /// False if the page was already authorized or is not attached.
    pub fn authorize(&mut self, port: PortId) -> bool {
        let page = self.attached.iter_mut().find(|page| page.port == port);
        page.is_some_and(|page| !std::mem::replace(&mut page.authorized, true))
    }

    /// The page that plays the ringtone: the one that became visible last.
    pub fn ringer(&self) -> Option<&Page> {
        self.iter().max_by_key(|page| (page.visible, page.rank))
    }

    pub fn by_port(&self, port: PortId) -> Option<&Page> {
        self.attached.iter().find(|page| page.port == port)
    }

    pub fn by_name(&self, name: &str) -> Option<&Page> {
        self.attached.iter().find(|page| page.name == name)
    }

    /// The authorized pages.
    pub fn iter(&self) -> impl Iterator<Item = &Page> {
        self.attached.iter().filter(|page| page.authorized)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Page> {
        self.attached.iter_mut().filter(|page| page.authorized)
    }

    /// No page is attached, authorized or not.
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
    fn the_ringer_is_the_page_that_became_visible_last() {
        let mut pages = Pages::default();
        pages.attach(1, "a", true, Millis(0));
        pages.attach(2, "b", false, Millis(0));
        assert!(pages.ringer().is_none());
        assert!(pages.authorize(1) && pages.authorize(2) && !pages.authorize(2));
        assert_eq!(pages.ringer().map(|page| page.port), Some(1));
        pages.keep_alive(2, true, Millis(1));
        assert_eq!(pages.ringer().map(|page| page.port), Some(2));
        // Both hidden: the one with the highest rank.
        pages.keep_alive(1, false, Millis(2));
        pages.keep_alive(2, false, Millis(2));
        assert_eq!(pages.ringer().map(|page| page.port), Some(2));
    }

    #[test]
    fn a_visible_page_is_removed_after_12_seconds_of_silence_and_a_hidden_one_later() {
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
