//! What the person is asked about the displayed call.

use bitcall_wire::agent_protocol::{CallId, CallSnapshot};
use sycamore::prelude::*;

use super::call::title;
use super::elements::*;
use crate::number::format_number;
use crate::selector::{Selector, selector};
use crate::ui::{Ui, UserAction, consultation, find_call, together};

/// A question about the call, with two answers: whether to connect the one who was asked first, or whether to be
/// connected with somebody else.
pub fn question(ui: Ui, call: Selector<Option<CallSnapshot>>, id: &CallId) -> View {
    let shown = id.clone();
    let referral = selector(move || {
        ui.snapshot.with(|snapshot| {
            let mut calls = together(snapshot, &shown).into_iter();
            calls.find_map(|id| find_call(snapshot, &id)?.referral.clone().map(|target| (id, target)))
        })
    });
    let waits = selector(move || call.with(|call| call.as_ref().is_some_and(|call| call.transfer.is_none())));
    let asked_id = id.clone();
    let asked = selector(move || {
        ui.snapshot.with(|snapshot| {
            let (first, asked) = consultation(snapshot, &asked_id)?;
            let name = |id: &str| find_call(snapshot, id).map(title);
            Some((name(&first)?, name(&asked)?, first, asked))
        })
    });
    dynamic(move || {
        if let Some((id, target)) = referral.get_clone() {
            let question = format!("The other side wants to connect you with {}.", format_number(&target));
            let (follow, stay) = (UserAction::AnswerReferral(id.clone(), true), UserAction::AnswerReferral(id, false));
            return choice(ui, question, ("Connect".to_owned(), follow), ("Stay".to_owned(), stay));
        }
        match asked.get_clone() {
            Some((first_name, asked_name, first, asked)) if waits.get() => choice(
                ui,
                format!("Connect {first_name} with {asked_name}?"),
                ("Transfer".to_owned(), UserAction::TransferTo(first.clone(), asked.clone())),
                (format!("Back to {first_name}"), UserAction::BackTo(first, asked)),
            ),
            _ => View::new(),
        }
    })
}

fn choice(ui: Ui, question: String, yes: (String, UserAction), no: (String, UserAction)) -> View {
    let answer = |class: &'static str, (label, action): (String, UserAction)| {
        button().class(class).r#type("button").on_press(move || ui.dispatch(action.clone())).children(label)
    };
    div()
        .class("question")
        .attr("role", "group")
        .attr("aria-label", question.clone())
        .children((
            p().children(question),
            div().class("transfer-ways").children((answer("wide plain", no), answer("wide positive", yes))),
        ))
        .into()
}
