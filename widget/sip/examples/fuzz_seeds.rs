//! Writes RFC 4475's messages and a WebRTC INVITE to a directory, one file each: where fuzzing starts.
//!
//! `cargo run -p bitcall-sip --example fuzz_seeds -- fuzz/corpus/message`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::Path;

fn main() {
    let directory = std::env::args().nth(1).expect("the directory to write to");
    let directory = Path::new(&directory);
    std::fs::create_dir_all(directory).expect("the directory can be made");
    for (name, bytes) in support::torture() {
        std::fs::write(directory.join(name), bytes).expect("the file can be written");
    }
    let invite = include_str!("../benches/invite.txt").replace('\n', "\r\n");
    std::fs::write(directory.join("webrtc"), invite).expect("the file can be written");
}
