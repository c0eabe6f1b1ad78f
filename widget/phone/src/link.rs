//! Attaches the page to its agent, wherever that runs.
