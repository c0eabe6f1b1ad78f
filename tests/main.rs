//! Behaviour tests: the real binary, real browsers, real SIP servers.
//!
//! One module per behaviour; `rig` starts and stops the browsers, SIP servers and far ends that some of them need.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agent_cannot_start;
mod api_document;
mod api_keys;
mod app_bootstrap;
mod appliance;
mod assets;
mod audit;
mod back_and_forth;
mod bad_frames;
mod calls_through_kamailio;
mod calls_with_baresip;
mod cancel_and_decline;
mod config_faults;
mod custom_domains;
mod demo;
mod digits;
mod early_media;
mod echo;
mod edge;
mod hold;
mod installation;
mod level_bars;
mod live_calls;
mod loader_api;
mod matrix;
mod microphone_comes_back;
mod offer_made_ahead;
mod one_time_tokens;
mod operator;
mod origins;
mod pages_without_shared_worker;
mod password_changed;
mod plans;
mod provisioning;
mod registration_is_true;
mod reload_keeps_the_call;
mod remembered;
mod rig;
mod serve_tls;
mod several_tabs_one_registration;
mod sign_in_modes;
mod storm;
mod subdomains;
mod three_lines_on_a_page;
mod transport_defaults;
mod turn;
mod turn_credentials;
mod two_calls;
mod waiting_call;
mod wrong_password;
