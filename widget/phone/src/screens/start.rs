//! The screens before the phone can be used: loading, opened without a host page, signing in.

use bitcall_wire::agent_protocol::RegistrationStatus;
use sycamore::prelude::*;
use sycamore::web::{bind, events};

use super::elements::*;
use crate::icons::{Icon, icon};
use crate::selector::{Selector, selector};
use crate::signin::{FormDefaults, SignInCredentials};
use crate::ui::{Ui, UserAction};

/// A placeholder with the layout of the dialer, so that nothing moves when the dialer replaces it.
pub fn skeleton() -> View {
    main()
        .class("skeleton")
        .attr("aria-busy", "true")
        .attr("aria-label", "Loading")
        .children((
            div().class("skeleton-block skeleton-number"),
            div()
                .class("skeleton-keys")
                .children((0..12).map(|_| div().class("skeleton-block skeleton-key").into()).collect::<Vec<View>>()),
            div().class("skeleton-block skeleton-button"),
        ))
        .into()
}

pub fn not_embedded() -> View {
    main()
        .class("start-page")
        .children((
            div().class("start-icon").children(icon(Icon::Phone)),
            h1().children("This phone lives on other pages"),
            p().class("lead").children(
                "It opens inside the web page that uses it, with the account of that page. There is nothing to do here.",
            ),
            p().class("lead").children((
                "To put it on a page of yours, or to try it, go to ",
                a().attr("href", "/").children("the start page"),
                ".",
            )),
        ))
        .into()
}

/// The phone does not work on this page, or not now.
pub fn refused(reason: &str) -> View {
    main()
        .class("start-page")
        .children((
            div().class("start-icon").children(icon(Icon::Phone)),
            p().class("lead").attr("role", "alert").children(reason.to_owned()),
            button().class("primary").r#type("button").on_press(reload).children("Try again"),
        ))
        .into()
}

pub fn reload() {
    if let Some(window) = web_sys::window() {
        let _ = window.location().reload();
    }
}

/// Sign-in with the credentials of the host page: one button.
pub fn connect(ui: Ui, credentials: &SignInCredentials) -> View {
    let (username, domain) = (credentials.username.clone(), credentials.domain.clone());
    let form = ui.form;
    main()
        .class("start-page")
        .children((
            title(ui),
            div().class("account-card").children((
                avatar(None),
                div().class("account-text").children((b().children(username), small().children(domain))),
            )),
            form_error(ui),
            button()
                .class("primary")
                .r#type("button")
                .bool_attr("disabled", move || form.busy.get())
                .attr("aria-busy", move || form.busy.get().then_some("true"))
                .on_press_intent(move || ui.dispatch(UserAction::PrepareSignIn))
                .on_press(move || ui.dispatch(UserAction::Connect))
                .children(dynamic(move || if form.busy.get() { "Connecting…" } else { "Connect" }.to_owned())),
            button()
                .class("text-button")
                .r#type("button")
                .on_press(move || ui.dispatch(UserAction::OtherAccount))
                .children("Use another account"),
        ))
        .into()
}

pub fn form(ui: Ui) -> View {
    let fields = ui.form;
    let FormDefaults { domain_fixed, secret, .. } = fields.defaults.get_clone_untracked();
    let registered = selector(move || {
        ui.snapshot.with(|snapshot| matches!(snapshot.registration, RegistrationStatus::Registered { .. }))
    });
    main()
        .class("start-page")
        .children(
            super::elements::form()
                .class("sign-in")
                .attr("novalidate", "")
                .on(events::submit, move |event: web_sys::SubmitEvent| {
                    event.prevent_default();
                    ui.dispatch(UserAction::SubmitSignIn);
                })
                .children((
                    title(ui),
                    field(TextField {
                        id: "username",
                        name: "Username",
                        value: fields.username,
                        error: selector(move || fields.errors.with(|errors| errors.username)),
                        hint: "",
                        autocomplete: "username",
                        fixed: false,
                    }),
                    field(TextField {
                        id: "domain",
                        name: "Domain",
                        value: fields.domain,
                        error: selector(move || fields.errors.with(|errors| errors.domain)),
                        hint: if domain_fixed { "Set by your company" } else { "" },
                        autocomplete: "off",
                        fixed: domain_fixed,
                    }),
                    password(ui, secret.is_some()),
                    remember(ui),
                    form_error(ui),
                    button()
                        .class("primary")
                        .r#type("submit")
                        .bool_attr("disabled", move || fields.busy.get())
                        .attr("aria-busy", move || fields.busy.get().then_some("true"))
                        .on_press_intent(move || ui.dispatch(UserAction::PrepareSignIn))
                        .children(dynamic(move || {
                            if fields.busy.get() { "Signing in…" } else { "Sign in" }.to_owned()
                        })),
                    dynamic(move || if registered.get() { not_now(ui) } else { View::new() }),
                )),
        )
        .into()
}

/// The password is asked for while the phone is registered: it is only needed for some calls.
fn not_now(ui: Ui) -> View {
    button()
        .class("text-button")
        .r#type("button")
        .on_press(move || ui.dispatch(UserAction::CloseSignIn))
        .children("Not now")
        .into()
}

fn title(ui: Ui) -> View {
    let name = ui.config.with(|config| config.as_ref().map(|config| config.branding.display_name.clone()));
    div()
        .class("start-title")
        .children((
            h1().children("Sign in"),
            p().class("lead").children(match name {
                Some(name) => format!("to make and take calls with {name}"),
                None => "to make and take calls".to_owned(),
            }),
        ))
        .into()
}

struct TextField {
    id: &'static str,
    name: &'static str,
    value: Signal<String>,
    error: Selector<Option<&'static str>>,
    hint: &'static str,
    autocomplete: &'static str,
    fixed: bool,
}

fn field(field: TextField) -> View {
    let TextField { id, name, value, error, hint, autocomplete, fixed } = field;
    let note_id = format!("{id}-note");
    div()
        .class("field")
        .children((
            label().attr("for", id).children(name),
            div().class("field-box").bool_attr("data-fixed", fixed).children((
                input()
                    .id(id)
                    .r#type("text")
                    .attr("name", id)
                    .attr("autocomplete", autocomplete)
                    .attr("autocapitalize", "off")
                    .attr("spellcheck", "false")
                    .attr("dir", "auto")
                    .bool_attr("readonly", fixed)
                    .attr("aria-describedby", note_id.clone())
                    .attr("aria-invalid", move || error.with(Option::is_some).then_some("true"))
                    .attr("value", value.get_clone_untracked())
                    .bind(bind::value, value),
                if fixed { icon(Icon::Lock) } else { View::new() },
            )),
            note(note_id, error, hint),
        ))
        .into()
}

fn password(ui: Ui, given_by_host: bool) -> View {
    let fields = ui.form;
    let shown = fields.password_shown;
    let error = selector(move || fields.errors.with(|errors| errors.password));
    div()
        .class("field")
        .children((
            label().attr("for", "password").children("Password"),
            div().class("field-box").children((
                input()
                    .id("password")
                    .attr("name", "password")
                    .attr("type", move || if shown.get() { "text" } else { "password" })
                    // Browsers give a password input no role. With this one, assistive tools and tests find
                    // it as a text box.
                    .attr("role", "textbox")
                    .attr("autocomplete", "current-password")
                    .attr("autocapitalize", "off")
                    .attr("spellcheck", "false")
                    .attr("placeholder", if given_by_host { "Filled in by this page" } else { "" })
                    .attr("aria-describedby", "password-note")
                    .attr("aria-invalid", move || error.with(Option::is_some).then_some("true"))
                    .bind(bind::value, fields.password),
                button()
                    .class("icon-button")
                    .r#type("button")
                    .attr("aria-label", "Show password")
                    .attr("aria-pressed", move || if shown.get() { "true" } else { "false" })
                    .on_press(move || shown.set(!shown.get_untracked()))
                    .children(dynamic(move || icon(if shown.get() { Icon::EyeOff } else { Icon::Eye }))),
            )),
            note("password-note".to_owned(), error, ""),
        ))
        .into()
}

/// The error, or else a hint. Always in the document, because screen readers only announce changes of an
/// existing live region.
fn note(id: String, error: Selector<Option<&'static str>>, hint: &'static str) -> View {
    p().class(move || if error.with(Option::is_some) { "note error" } else { "note" })
        .id(id)
        .attr("aria-live", "polite")
        .children(dynamic(move || error.get().unwrap_or(hint).to_owned()))
        .into()
}

fn remember(ui: Ui) -> View {
    label()
        .class("check")
        .children((
            input().r#type("checkbox").attr("name", "remember").bind(bind::checked, ui.form.remember),
            span().class("check-box").attr("aria-hidden", "true").children(icon(Icon::Check)),
            span().children("Keep me signed in on this device"),
        ))
        .into()
}

/// The error of the server or the network.
fn form_error(ui: Ui) -> View {
    div()
        .class("form-error-slot")
        .attr("role", "alert")
        .children(dynamic(move || match ui.form.error.get_clone() {
            Some(text) => div().class("form-error").children((icon(Icon::Alert), p().children(text))).into(),
            None => View::new(),
        }))
        .into()
}
