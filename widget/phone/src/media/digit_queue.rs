//! The digits of one call that are still to be sent, in order and with their pauses. Time is passed in.
//!
//! `,` is a pause of two seconds, as for `insertDTMF` (W3C WebRTC §7.3) and modems; `;` waits until the person presses a
//! key, which is not sent itself. Digits that were dialled with the number wait for the answer.

use std::collections::VecDeque;

use bitcall_wire::agent_protocol::{CallSnapshot, CallState, HoldState};

/// A digit, and the silence after it. Common gateways detect 160 ms with a pause of 70 ms.
pub const DIGIT_MS: u32 = 160;
pub const GAP_MS: u32 = 70;
/// What `,` stands for.
const PAUSE_MS: u64 = 2_000;
/// Further digits are refused.
const MAX_WAITING: usize = 512;

/// Whether digits can be sent into the call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Line {
    /// Neither answered nor with early media.
    #[default]
    Closed,
    /// Early media: what the person types is sent.
    Early,
    Open,
    /// What waits goes on when the call is resumed.
    OnHold,
}

#[derive(Debug, Default)]
pub struct DigitQueue {
    line: Line,
    after_answer: String,
    waiting: VecDeque<char>,
    /// Until when a digit or a pause lasts, in milliseconds.
    busy_until: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub enum NextDigit {
    Send(char),
    /// Ask again at this time.
    Later(u64),
    /// A key of the person sends these, in turn.
    NeedsKey(String),
    /// Until something is added, or the line changes.
    Nothing,
}

impl Line {
    pub fn of(call: &CallSnapshot) -> Line {
        match (&call.state, call.hold) {
            (CallState::Active, HoldState::None) => Line::Open,
            (CallState::Active, _) => Line::OnHold,
            (CallState::EarlyMedia, _) => Line::Early,
            _ => Line::Closed,
        }
    }
}

impl DigitQueue {
    /// The digits that were dialled with the number.
    pub fn add_after_answer(&mut self, digits: &str) {
        self.after_answer.push_str(digits);
    }

    /// False if it is as it was.
    pub fn set_line(&mut self, line: Line) -> bool {
        if line == Line::Open {
            self.waiting.extend(self.after_answer.drain(..));
        }
        std::mem::replace(&mut self.line, line) != line
    }

    /// The person presses a key, or pastes several. One key alone only ends a wait.
    ///
    /// # Errors
    /// Why nothing is sent, as a sentence.
    pub fn press(&mut self, digits: &str) -> Result<(), &'static str> {
        match self.line {
            Line::Closed => return Err("Digits are not sent: nobody has answered yet."),
            Line::OnHold => return Err("Digits are not sent: the call is on hold."),
            Line::Early | Line::Open => {}
        }
        let ends_wait = self.waiting.front() == Some(&';') && digits.len() == 1;
        if ends_wait {
            self.waiting.pop_front();
        } else if self.waiting.len() + digits.len() > MAX_WAITING {
            return Err("Digits are not sent: too many wait already.");
        } else {
            self.waiting.extend(digits.chars());
        }
        Ok(())
    }

    pub fn next(&mut self, now: u64) -> NextDigit {
        if !matches!(self.line, Line::Early | Line::Open) {
            return NextDigit::Nothing;
        }
        loop {
            return match self.waiting.front() {
                None => NextDigit::Nothing,
                Some(_) if now < self.busy_until => NextDigit::Later(self.busy_until),
                Some(';') => {
                    let rest = self.waiting.iter().skip(1).take_while(|key| **key != ';');
                    NextDigit::NeedsKey(rest.filter(|key| **key != ',').collect())
                }
                Some(',') => {
                    self.waiting.pop_front();
                    self.busy_until = now.saturating_add(PAUSE_MS);
                    continue;
                }
                Some(&digit) => {
                    self.waiting.pop_front();
                    self.busy_until = now.saturating_add((DIGIT_MS + GAP_MS).into());
                    NextDigit::Send(digit)
                }
            };
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn open() -> DigitQueue {
        let mut queue = DigitQueue::default();
        queue.set_line(Line::Open);
        queue
    }

    /// Asks until the queue has nothing left for this time; what was sent, with the time of each digit.
    fn run(queue: &mut DigitQueue, mut now: u64) -> (Vec<(char, u64)>, NextDigit) {
        let mut sent = Vec::new();
        loop {
            match queue.next(now) {
                NextDigit::Send(digit) => sent.push((digit, now)),
                NextDigit::Later(time) => {
                    assert!(time > now);
                    now = time;
                }
                end => return (sent, end),
            }
        }
    }

    #[test]
    fn digits_follow_each_other_with_their_pauses() {
        let mut queue = open();
        queue.press("1,,2").unwrap();
        queue.press("3").unwrap();
        let sent = vec![('1', 1_000), ('2', 5_230), ('3', 5_460)];
        assert_eq!(run(&mut queue, 1_000), (sent, NextDigit::Nothing));
    }

    #[test]
    fn a_wait_ends_with_a_key_which_is_not_sent() {
        let mut queue = open();
        queue.press("1;2,4;3").unwrap();
        assert_eq!(run(&mut queue, 0), (vec![('1', 0)], NextDigit::NeedsKey("24".to_owned())));
        queue.press("9").unwrap();
        let (sent, end) = run(&mut queue, 9_000);
        assert_eq!((sent, end), (vec![('2', 9_000), ('4', 11_230)], NextDigit::NeedsKey("3".to_owned())));
        queue.press("#").unwrap();
        assert_eq!(run(&mut queue, 12_000), (vec![('3', 12_000)], NextDigit::Nothing));
        queue.press("9").unwrap();
        assert_eq!(run(&mut queue, 13_000), (vec![('9', 13_000)], NextDigit::Nothing), "nothing waits for it");
    }

    #[test]
    fn digits_that_were_dialled_with_the_number_are_sent_after_the_answer() {
        let mut queue = DigitQueue::default();
        queue.add_after_answer(",42");
        assert!(queue.press("1").is_err());
        assert_eq!(queue.next(0), NextDigit::Nothing);
        queue.set_line(Line::Early);
        queue.press("7").unwrap();
        assert_eq!(run(&mut queue, 1_000), (vec![('7', 1_000)], NextDigit::Nothing), "what is typed is not");
        queue.set_line(Line::Open);
        assert_eq!(run(&mut queue, 5_000), (vec![('4', 7_000), ('2', 7_230)], NextDigit::Nothing));
        queue.set_line(Line::Open);
        assert_eq!(queue.next(9_000), NextDigit::Nothing, "once");
    }

    #[test]
    fn a_call_on_hold_takes_no_digits_and_goes_on_with_the_rest_later() {
        let mut queue = open();
        queue.press("1,2").unwrap();
        assert_eq!(queue.next(0), NextDigit::Send('1'));
        queue.set_line(Line::OnHold);
        assert!(queue.press("3").unwrap_err().contains("on hold"));
        assert_eq!(queue.next(60_000), NextDigit::Nothing);
        queue.set_line(Line::Open);
        assert_eq!(run(&mut queue, 70_000), (vec![('2', 72_000)], NextDigit::Nothing));
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut queue = open();
        queue.press(&"1".repeat(MAX_WAITING)).unwrap();
        assert!(queue.press("1").is_err());
    }
}
