//! Banners: each shows one problem and one button that helps, above the rest of the screen.

use bitcall_wire::agent_protocol::{MediaError, RegistrationFailureCode, RegistrationStatus};
use sycamore::prelude::*;

use super::elements::*;
use crate::icons::{Icon, icon};
use crate::selector::selector;
use crate::ui::{Screen, SecondaryPart, Ui, UserAction};

#[derive(Clone, PartialEq)]
struct Banner {
    icon: Icon,
    text: String,
    button: &'static str,
    action: UserAction,
    /// Announced at once by screen readers (`role="alert"`).
    urgent: bool,
}

pub fn banners(ui: Ui) -> View {
    let list = selector(move || {
        let mut list = Vec::new();
        list.extend(ui.microphone_error.get().map(microphone));
        if ui.sound_blocked.get() {
            list.push(Banner {
                icon: Icon::Speaker,
                text: "Sound is blocked until you click once.".to_owned(),
                button: "Turn on sound",
                action: UserAction::UnblockSound,
                urgent: true,
            });
        }
        if ui.screen.with(|screen| *screen == Screen::Phone) {
            list.extend(connection(ui));
        }
        list
    });
    div()
        .class("banners")
        .children((
            dynamic(move || list.get_clone().into_iter().map(|entry| banner(ui, entry)).collect::<Vec<View>>()),
            dynamic(move || match ui.secondary.get() {
                SecondaryPart::Loaded(part) => (part.messages)(ui),
                _ => View::new(),
            }),
        ))
        .into()
}

fn banner(ui: Ui, banner: Banner) -> View {
    let action = banner.action;
    div()
        .class("banner")
        .attr("role", if banner.urgent { "alert" } else { "status" })
        .children((
            icon(banner.icon),
            p().children(banner.text),
            button()
                .class("banner-button")
                .r#type("button")
                .on_press(move || ui.dispatch(action.clone()))
                .children(banner.button),
        ))
        .into()
}

fn microphone(error: MediaError) -> Banner {
    let text = match error {
        MediaError::MicrophoneBlocked => "Microphone blocked. Allow it in the address bar, then try again.",
        MediaError::MicrophoneMissing => "No microphone found. Plug one in, then try again.",
        MediaError::MicrophoneBusy => "Another program uses the microphone. Close it, then try again.",
        MediaError::Unusable => "The other side sent audio this browser cannot play.",
        MediaError::Other => "Audio could not be started.",
    };
    Banner {
        icon: Icon::MicOff,
        text: text.to_owned(),
        button: "Try again",
        action: UserAction::RetryMicrophone,
        urgent: true,
    }
}

fn connection(ui: Ui) -> Option<Banner> {
    let (reason, urgent) = ui.snapshot.with(|snapshot| match &snapshot.registration {
        RegistrationStatus::Reconnecting { reason, .. } => Some((reason.clone(), false)),
        RegistrationStatus::Failed { reason } => Some((reason.clone(), true)),
        _ => None,
    })?;
    let sentence = reason.text.trim().trim_end_matches('.');
    let text = if reason.code == RegistrationFailureCode::Offline {
        "No network. Calls go on as soon as it is back.".to_owned()
    } else if urgent {
        format!("{sentence}.")
    } else {
        format!("{sentence}. Trying again by itself.")
    };
    Some(Banner { icon: Icon::Offline, text, button: "Try now", action: UserAction::RetryConnection, urgent })
}
