//! Sends the digits of one call when they are due.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use bitcall_wire::agent_protocol::{CallId, CallSnapshot};

use super::digit_queue::{DigitQueue, Line, NextDigit};
use super::{MediaNotice, MediaShared};
use crate::browser::{BrowserTimer, monotonic_ms};

pub struct CallDigits {
    call: CallId,
    media: Weak<MediaShared>,
    queue: RefCell<DigitQueue>,
    timer: RefCell<Option<BrowserTimer>>,
}

impl CallDigits {
    pub fn new(call: &str, media: Weak<MediaShared>) -> Rc<CallDigits> {
        Rc::new(CallDigits { call: call.to_owned(), media, queue: RefCell::default(), timer: RefCell::default() })
    }

    pub fn add_after_answer(&self, digits: &str) {
        self.queue.borrow_mut().add_after_answer(digits);
    }

    /// Follows the call's state.
    pub fn follow(self: &Rc<Self>, call: &CallSnapshot) {
        if self.queue.borrow_mut().set_line(Line::of(call)) {
            self.run();
        }
    }

    /// # Errors
    /// Why nothing is sent, as a sentence.
    pub fn press(self: &Rc<Self>, digits: &str) -> Result<(), &'static str> {
        self.queue.borrow_mut().press(digits)?;
        self.run();
        Ok(())
    }

    fn run(self: &Rc<Self>) {
        let Some(media) = self.media.upgrade() else { return };
        self.timer.take();
        loop {
            let now = monotonic_ms();
            let next = self.queue.borrow_mut().next(now);
            match next {
                NextDigit::Send(digit) => media.send_digit(&self.call, digit),
                NextDigit::Later(time) => {
                    let weak = Rc::downgrade(self);
                    let wait = i32::try_from(time.saturating_sub(now)).unwrap_or(i32::MAX);
                    let timer = BrowserTimer::after(wait, move || {
                        if let Some(digits) = weak.upgrade() {
                            digits.run();
                        }
                    });
                    *self.timer.borrow_mut() = Some(timer);
                    return;
                }
                NextDigit::NeedsKey(rest) => {
                    return media.notify(MediaNotice::DigitsWait { call: self.call.clone(), rest });
                }
                NextDigit::Nothing => return,
            }
        }
    }
}
