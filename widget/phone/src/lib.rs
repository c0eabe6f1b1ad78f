//! The phone that people see: screens, microphone, `RTCPeerConnection`.
//!
//! It knows no SIP. Socket, registration and dialogs live in the agent, which
//! runs in a `SharedWorker` (or beside it in the page); the two talk by the
//! messages of [`bitcall_wire::seam`]. The page that frames the phone is
//! spoken to by those of [`bitcall_wire::bridge`].

pub mod link;
pub mod media;
pub mod tones;
