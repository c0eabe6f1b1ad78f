//! What a browser may transfer, in bytes of brotli. The build fails beyond them, and `make bench` prints them.

/// `loader.js`, which every page of a tenant loads.
pub const LOADER: usize = 8_000;
/// All that a phone needs to sign in, ring, talk and hang up: page, styles, scripts, the main part of the module; and the loader.
/// The goal is 225,000.
pub const FIRST_LOAD: usize = 290_000;
/// The same with what is loaded later.
pub const WHOLE: usize = 360_000;
