//! Texts kept as what tells them from one that they are all like.
//!
//! The runtime configurations of a hundred thousand tenants differ in a handful of names. Kept whole they take
//! a hundred megabytes, and every request would wait for the memory where its own lies. Kept so, it waits for a
//! line or two of that, and the text that all have in common stays near the processor.

use std::collections::HashMap;

/// Fewer bytes that are the same are not worth a step.
const SHORTEST: usize = 12;
/// What 16 bits can count.
const MOST: usize = 0xffff;

/// The text that the others are like.
#[derive(Debug)]
pub struct Model {
    text: Box<[u8]>,
    /// Where its pieces of [`SHORTEST`] bytes begin; of equal ones the first.
    places: HashMap<[u8; SHORTEST], usize>,
}

/// A text, told by its [`Model`].
#[derive(Debug)]
pub struct Likeness {
    length: usize,
    /// One step after the other: its [`Head`], then the bytes that are the text's own.
    steps: Box<[u8]>,
}

/// Three numbers of 16 bits, the lowest byte first: how many bytes are the text's own, where in the model those
/// lie that follow them, and how many they are.
type Head = [u8; 6];

impl Model {
    /// Only the first 64 KiB of `text` are of use.
    pub fn new(mut text: Vec<u8>) -> Self {
        text.truncate(MOST);
        let mut places = HashMap::new();
        for (place, piece) in text.windows(SHORTEST).enumerate() {
            if let Some(piece) = piece.first_chunk() {
                places.entry(*piece).or_insert(place);
            }
        }
        Self { text: text.into(), places }
    }

    pub fn describe(&self, text: &[u8]) -> Likeness {
        let (mut steps, mut rest, mut own) = (Vec::new(), text, 0);
        while !rest.is_empty() {
            let (from, count) = self.longest(&rest[own..]);
            if count == 0 && own < rest.len().min(MOST) {
                own += 1;
                continue;
            }
            // None of them is above MOST.
            let head = [own, from, count].map(|number| u16::try_from(number).unwrap_or_default().to_le_bytes());
            steps.extend_from_slice(head.as_flattened());
            steps.extend_from_slice(&rest[..own]);
            rest = &rest[own + count..];
            own = 0;
        }
        Likeness { length: text.len(), steps: steps.into() }
    }

    /// Where the model has what `text` begins with, and how much of it.
    fn longest(&self, text: &[u8]) -> (usize, usize) {
        let Some(&from) = text.first_chunk().and_then(|start| self.places.get(start)) else { return (0, 0) };
        (from, self.text[from..].iter().zip(text).take_while(|(one, other)| one == other).count())
    }

    /// The text that this very model has described.
    pub fn text_of(&self, likeness: &Likeness) -> Vec<u8> {
        let mut text = Vec::with_capacity(likeness.length);
        let mut steps = &*likeness.steps;
        while let Some((head, rest)) = steps.split_first_chunk::<{ size_of::<Head>() }>() {
            let number = |at: usize| usize::from(u16::from_le_bytes([head[at], head[at + 1]]));
            let (own, from, count) = (number(0), number(2), number(4));
            let Some((own, rest)) = rest.split_at_checked(own) else { break };
            text.extend_from_slice(own);
            text.extend_from_slice(self.text.get(from..from + count).unwrap_or_default());
            steps = rest;
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_the_same_takes_no_room() {
        let text = |name: &str| format!("{{\"tenantId\":\"{name}\",\"wss\":[\"wss://phone.example/sip\"],\"x\":1}}");
        let model = Model::new(text("somebody").into());
        let likeness = model.describe(text("acme").as_bytes());
        assert_eq!(model.text_of(&likeness), text("acme").into_bytes());
        assert_eq!(likeness.steps.len(), 2 * size_of::<Head>() + "acme".len());
    }

    #[test]
    fn long_texts_come_back_whole() {
        let long: Vec<u8> = (0..200_000_u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect();
        for model in [vec![], vec![7; 100_000], long.clone(), b"shorter".to_vec()] {
            let model = Model::new(model);
            for text in [&long[..], &long[..MOST], &long[..=MOST], &[7].repeat(300_000), &[]] {
                assert!(model.text_of(&model.describe(text)) == text, "{} of {}", text.len(), model.text.len());
            }
        }
    }

    proptest! {
        #[test]
        fn every_text_comes_back_whole(model in words(), text in words()) {
            let model = Model::new(model.into());
            prop_assert_eq!(model.text_of(&model.describe(text.as_bytes())), text.into_bytes());
        }
    }

    /// Texts that have much in common.
    fn words() -> impl Strategy<Value = String> {
        prop::collection::vec(
            prop::sample::select(vec!["\"displayName\":", "true,false,null,", "a", "é", "x,", ""]),
            0..40,
        )
        .prop_map(|words| words.concat())
    }
}
