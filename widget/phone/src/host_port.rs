//! What embeds the phone: it asks for things and hears what happens. A frame in a host page
//! ([`crate::frame_port::FramePort`]) is one; nothing above this interface knows of frames.

use bitcall_wire::host_protocol::{FromPhone, HostCommand, HostEvent, InitPayload};

/// The phone's side of the channel. Everything that is sent before [`HostRequest::Start`] came is dropped.
pub trait HostPort {
    /// Receives requests from now on, starting with those that came before.
    fn listen(&self, on_request: Box<dyn Fn(HostRequest)>);

    /// Receives no more requests.
    fn close(&self);

    fn emit(&self, event: &HostEvent);

    fn tell(&self, message: &FromPhone);

    /// Whether there is something around the phone into which it can be put away.
    fn can_minimise(&self) -> bool;
}

pub enum HostRequest {
    /// First, and only once: the phone is to work for the page of this origin.
    Start {
        page_origin: String,
        init: InitPayload,
        id: CommandId,
    },
    Command(HostCommand, CommandId),
    /// A command that this phone does not know, or with a payload that it cannot read.
    Unreadable(CommandId),
    /// The phone came into view, or went out of it.
    Visible(bool),
    /// End everything: the phone is taken down.
    Stop,
}

/// Of a request that is to be answered once, by [`FromPhone::Answer`]. `None` is from before there were answers: refusals
/// are told by [`FromPhone::Error`].
#[must_use]
pub struct CommandId(pub Option<u32>);
