//! Text messages: the oldest one that nobody has dismissed, and the answer to it where the tenant lets people answer.

use bitcall_wire::agent_protocol::TextMessage;
use sycamore::prelude::*;
use sycamore::web::{bind, events};

use super::elements::*;
use crate::icons::{Icon, icon};
use crate::number::format_number;
use crate::page;
use crate::selector::selector;
use crate::ui::{MessageAction, Ui, UserAction};

/// A MESSAGE outside of a session carries at most 1300 bytes (RFC 3428 §8), of which headers take the most.
const MAX_REPLY_CHARS: &str = "300";
const FIELD_ID: &str = "reply";

#[derive(Clone, PartialEq)]
enum Reply {
    Closed,
    /// With what was wrong with the last try.
    Writing(String),
    Sending,
    Sent,
}

pub fn messages(ui: Ui) -> View {
    let first = selector(move || ui.messages.with(|list| list.first().cloned()));
    dynamic(move || first.get_clone().map_or_else(View::new, |first| message(ui, first)))
}

fn message(ui: Ui, message: TextMessage) -> View {
    let TextMessage { number, display_name, text, .. } = message;
    let name = display_name.unwrap_or_else(|| format_number(&number));
    let may_reply = !number.is_empty()
        && ui.config.with_untracked(|config| config.as_ref().is_some_and(|it| it.behavior.calls.message_replies));
    let reply = create_signal(Reply::Closed);
    create_effect(move || {
        if let Some((to, failure)) = ui.message_answer.get_clone()
            && to == number
            && reply.with_untracked(|reply| *reply == Reply::Sending)
        {
            reply.set(match failure {
                Some(why) => Reply::Writing(format!("Not sent. {why}.")),
                None => Reply::Sent,
            });
        }
    });
    let more = selector(move || ui.messages.with(Vec::len).saturating_sub(1));
    let dismiss = move || ui.dispatch(UserAction::Message(MessageAction::Dismiss));
    let sentence = format!("{name}: {text}");
    let typed = create_signal(String::new());
    let is_sent = selector(move || reply.with(|reply| *reply == Reply::Sent));
    let is_closed = selector(move || reply.with(|reply| *reply == Reply::Closed));
    let is_open = selector(move || reply.with(|reply| matches!(reply, Reply::Writing(_) | Reply::Sending)));
    div()
        .class("banner message")
        .children((
            icon(Icon::Phone),
            p().attr("role", "status")
                .attr("dir", "auto")
                .children(dynamic(move || if is_sent.get() { format!("Sent to {name}.") } else { sentence.clone() })),
            dynamic(move || {
                if !may_reply || !is_closed.get() {
                    return View::new();
                }
                banner_button("Reply", move || {
                    reply.set(Reply::Writing(String::new()));
                    page::focus_after_render(FIELD_ID);
                })
            }),
            banner_button(
                dynamic(move || match more.get() {
                    0 => "Dismiss".to_owned(),
                    more => format!("Dismiss ({more} more)"),
                }),
                dismiss,
            ),
            dynamic(move || if is_open.get() { answer(ui, reply, typed) } else { View::new() }),
        ))
        .into()
}

fn answer(ui: Ui, reply: Signal<Reply>, typed: Signal<String>) -> View {
    let is_sending = selector(move || reply.with(|reply| *reply == Reply::Sending));
    (
        form()
            .class("field-box")
            .attr("novalidate", "")
            .on(events::submit, move |event: web_sys::SubmitEvent| {
                event.prevent_default();
                let text = typed.get_clone_untracked();
                if !text.trim().is_empty() && !is_sending.get_untracked() {
                    reply.set(Reply::Sending);
                    ui.dispatch(UserAction::Message(MessageAction::Reply(text)));
                }
            })
            .children((
                input()
                    .r#type("text")
                    .id(FIELD_ID)
                    .attr("aria-label", "Reply")
                    .attr("maxlength", MAX_REPLY_CHARS)
                    .attr("autocomplete", "off")
                    .attr("dir", "auto")
                    .bind(bind::value, typed),
                button()
                    .class("text-button")
                    .r#type("submit")
                    .children(dynamic(move || if is_sending.get() { "Sending…" } else { "Send" })),
            )),
        p().class("message-failure").attr("role", "alert").children(dynamic(move || {
            reply.with(|reply| match reply {
                Reply::Writing(why) => why.clone(),
                _ => String::new(),
            })
        })),
    )
        .into()
}

fn banner_button(label: impl Into<View>, act: impl FnMut() + 'static) -> View {
    button().class("banner-button").r#type("button").on_press(act).children(label).into()
}
