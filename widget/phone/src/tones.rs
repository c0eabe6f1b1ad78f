//! Ring, ring-back, key and end tones, all synthesised.
