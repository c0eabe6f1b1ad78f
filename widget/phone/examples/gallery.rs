//! Every screen of the phone, drawn from made-up state into plain HTML files:
//! for looking at them, without a server, a browser's permission, or a call.
//!
//! ```sh
//! cargo run -p bitcall-phone --example gallery -- /tmp/gallery
//! ```
//!
//! Each file takes its looks from the address: `incoming.html?theme=dark&accent=ffee00&dir=rtl&text=200`.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bitcall_phone::caller_ids::CallerIds;
use bitcall_phone::recents::RecentCall;
use bitcall_phone::recordings::{Gap, Playback, Recording, StorageQuota};
use bitcall_phone::signin::{FormDefaults, FormErrors, RedactedSecret, SignInCredentials};
use bitcall_phone::theme::{Accent, Rgb};
use bitcall_phone::time::LocalClock;
use bitcall_phone::ui::{DeviceOption, DeviceOptions, LoadFailure, MeterBars, Screen, SecondaryPart, Tab, Ui};
use bitcall_phone::{screens, secondary, theme};
use bitcall_wire::agent_protocol::{
    AccountSecret, AgentSnapshot, CallDirection, CallSnapshot, CallState, HoldState, MediaError, Party, RecordingState,
    RegistrationFailure, RegistrationFailureCode, RegistrationStatus, TextMessage, TransferSnapshot, TransferState,
};
use bitcall_wire::config::{HeaderMode, RuntimeConfig};

const NOW: u64 = 1_795_348_800_000;
const ACCENTS: [&str; 4] = ["#4f46e5", "#ffee00", "#000000", "#e11d48"];

type Scene = fn(Ui);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory: PathBuf = std::env::args().nth(1).ok_or("say where to: gallery DIRECTORY")?.into();
    fs::create_dir_all(&directory)?;
    let css = concat!(env!("CARGO_MANIFEST_DIR"), "/css");
    let mut sheets: Vec<_> =
        fs::read_dir(css)?.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
    sheets.retain(|path| path.is_file());
    sheets.sort();
    let sheet = sheets.iter().map(fs::read_to_string).collect::<Result<String, _>>()? + secondary::STYLES;
    for (name, scene) in scenes() {
        let html = sycamore::render_to_string(move || {
            let ui = Ui::new();
            usual(ui);
            ui.secondary.set(secondary_part());
            scene(ui);
            screens::root(ui)
        });
        fs::write(directory.join(format!("{name}.html")), page(&sheet, &html))?;
    }
    Ok(())
}

fn page(css: &str, html: &str) -> String {
    let mut accents = String::new();
    for colour in ACCENTS {
        let (light, dark) = (Accent::light(Rgb::parse(colour)), Accent::dark(Rgb::parse(colour)));
        let rules = theme::variables(&light, &dark).map(|(name, value)| format!("{name}:{value}")).join(";");
        let _ = writeln!(accents, ":root[data-accent=\"{}\"]{{{rules}}}", &colour[1..]);
    }
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
         <style>{css}\n{accents}</style><script>const q=new URLSearchParams(location.search),r=document.documentElement;\
         if(q.get('theme'))r.dataset.theme=q.get('theme');r.dataset.accent=q.get('accent')||'4f46e5';r.dir=q.get('dir')||'ltr';\
         if(q.get('text'))r.style.fontSize=q.get('text')+'%';</script><body>{html}</body></html>"
    )
}

/// Outside of a browser it is there at once.
fn secondary_part() -> SecondaryPart {
    match pin!(secondary::load()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(part)) => SecondaryPart::Loaded(part),
        _ => SecondaryPart::Failed(LoadFailure::Unreachable),
    }
}

fn usual(ui: Ui) {
    let config: RuntimeConfig = serde_json::from_value(serde_json::json!({
        "tenantId": "acme", "uiUrl": "", "storageNamespace": "bitcall:acme", "wsUrl": null,
        "wss": [], "iceServers": [], "sip": { "domain": "acme.sip.bitcall.internal" }, "behavior": { "calls": { "messageReplies": true } },
        "branding": { "displayName": "Acme Support", "logoLight": null, "logoDark": null, "themeColor": "#4f46e5", "headerMode": "both" },
        "capabilities": { "maxSessions": 4, "transferBlind": true, "popupMode": false, "installable": false, "audioClips": false, "recording": true },
        "features": {}
    }))
    .unwrap_or_else(|error| unreachable!("the made-up configuration is complete: {error}"));
    ui.config.set(Some(Rc::new(config)));
    ui.screen.set(Screen::Phone);
    ui.can_minimise.set(true);
    ui.now.set(NOW);
    ui.zone.set(LocalClock { offset_minutes: 0, is_24_hour: true });
    ui.page.set("here".to_owned());
    ui.signed_in_as.set(Some(account()));
    ui.snapshot.set(AgentSnapshot { registration: registered(), ..AgentSnapshot::default() });
    ui.recents.set(history());
    ui.form.defaults.set(FormDefaults { domain_fixed: true, ..FormDefaults::default() });
    ui.form.domain.set("acme.sip.bitcall.internal".to_owned());
    ui.devices.set(DeviceOptions {
        microphones: vec![DeviceOption { id: "a".to_owned(), name: "Jabra Evolve2 65 (USB)".to_owned() }],
        speakers: vec![DeviceOption { id: "a".to_owned(), name: "Jabra Evolve2 65 (USB)".to_owned() }],
        microphone: "a".to_owned(),
        speaker: String::new(),
    });
}

fn scenes() -> Vec<(&'static str, Scene)> {
    vec![
        ("loading", |ui| {
            ui.config.set(None);
            ui.screen.set(Screen::Loading);
        }),
        ("direct", |ui| {
            ui.config.set(None);
            ui.can_minimise.set(false);
            ui.screen.set(Screen::NotEmbedded);
        }),
        ("refused", |ui| {
            ui.config.set(None);
            ui.screen.set(Screen::Refused("The tenant does not allow pages of this origin.".to_owned()));
        }),
        ("form", |ui| signed_out(ui, Screen::Form)),
        ("form-errors", |ui| {
            signed_out(ui, Screen::Form);
            ui.form.username.set("101".to_owned());
            ui.form
                .errors
                .set(FormErrors { password: Some("Wrong password. Check it and try again."), ..FormErrors::default() });
            ui.form.remember.set(true);
            ui.snapshot.set(AgentSnapshot {
                registration: failed(RegistrationFailureCode::WrongPassword, "Wrong password"),
                ..AgentSnapshot::default()
            });
        }),
        ("form-refused", |ui| {
            signed_out(ui, Screen::Form);
            ui.form.error.set(Some("The server does not answer. Check the network, then try again.".to_owned()));
        }),
        ("connect", |ui| signed_out(ui, Screen::Connect(account()))),
        ("dialer", |_| {}),
        ("dialer-wide-logo", |ui| logo(ui, 640, HeaderMode::Logo)),
        ("dialer-square-logo", |ui| logo(ui, 120, HeaderMode::Both)),
        ("dialer-message", |ui| {
            ui.messages.set(vec![TextMessage {
                call: None,
                number: "103".to_owned(),
                display_name: Some("Beate Muster".to_owned()),
                text: "Can you call Mr Brandt back before five? He asks about the invoice.".to_owned(),
            }]);
        }),
        ("dialer-missed", |ui| ui.ended.set(history().into_iter().nth(1))),
        ("dialer-number", |ui| {
            ui.number.set("+4930901820".to_owned());
        }),
        ("dialer-long", |ui| {
            ui.number.set("sip:reception.front-desk@example.com".to_owned());
        }),
        ("dialer-error", |ui| {
            ui.number.set("12 wrong".to_owned());
            ui.number_error.set(Some("A space must not stand in a name.".to_owned()));
        }),
        ("dialer-identity", |ui| ui.identity_open.set(true)),
        ("dialer-ended", |ui| {
            ui.ended.set(history().into_iter().next());
        }),
        ("dialer-busy", |ui| {
            ui.ended.set(history().into_iter().nth(2));
        }),
        ("dialer-blocked", |ui| {
            ui.microphone_error.set(Some(MediaError::MicrophoneBlocked));
            ui.snapshot.set(AgentSnapshot {
                registration: RegistrationStatus::Reconnecting {
                    reason: RegistrationFailure {
                        code: RegistrationFailureCode::ConnectionLost,
                        sip_code: None,
                        text: "Connection lost".to_owned(),
                    },
                    retry_at: None,
                },
                ..AgentSnapshot::default()
            });
        }),
        ("calling", |ui| {
            show(ui, vec![CallSnapshot { answered_at: None, state: CallState::Ringing, ..anna() }]);
        }),
        ("call", |ui| show(ui, vec![anna()])),
        ("call-number", |ui| {
            show(ui, vec![CallSnapshot { display_name: None, ..anna() }]);
        }),
        ("call-long", |ui| {
            show(
                ui,
                vec![CallSnapshot {
                    display_name: Some("Dr. Wilhelmina Featherstonehaugh-Cholmondeley, Customer Relations".to_owned()),
                    number: "sip:wilhelmina.featherstonehaugh@very-long-domain-name.example.com".to_owned(),
                    ..anna()
                }],
            );
        }),
        ("call-muted-held", |ui| {
            show(ui, vec![CallSnapshot { hold: HoldState::Held, ..anna() }]);
            ui.muted.set(vec!["anna".to_owned()]);
        }),
        ("call-note", |ui| {
            show(ui, vec![anna()]);
            ui.call_notice.set(Some("The other side did not accept the hold. You are talking again.".to_owned()));
        }),
        ("call-recording", |ui| {
            show(ui, vec![CallSnapshot { recording: RecordingState::On { id: "r1".to_owned() }, ..anna() }]);
        }),
        ("call-recording-paused", |ui| {
            let recording = RecordingState::Paused { id: "r1".to_owned() };
            show(ui, vec![CallSnapshot { recording, hold: HoldState::Held, ..anna() }]);
        }),
        ("call-two", |ui| show(ui, vec![bob(), anna()])),
        ("conference", |ui| in_conference(ui, &[])),
        ("conference-muted", |ui| {
            in_conference(ui, &["bob"]);
            ui.muted.set(vec!["anna".to_owned(), "bob".to_owned(), "clara".to_owned()]);
        }),
        ("conference-waits", |ui| {
            in_conference(ui, &[]);
            ui.snapshot.update(|snapshot| {
                for call in &mut snapshot.calls {
                    call.hold = if call.id == "clara" { HoldState::None } else { HoldState::Held };
                }
                snapshot.conference.retain(|party| party.call != "clara");
                snapshot.active = Some("clara".to_owned());
            });
        }),
        ("call-keys", |ui| {
            show(ui, vec![anna()]);
            ui.keypad_open.set(true);
            ui.digits.set("1234#".to_owned());
        }),
        ("transfer", |ui| {
            show(ui, vec![anna()]);
            ui.transfer_open.set(true);
            ui.number.set("204".to_owned());
        }),
        ("transfer-under-way", |ui| {
            let transfer = TransferSnapshot { target: "204".to_owned(), state: TransferState::Ringing };
            show(ui, vec![CallSnapshot { hold: HoldState::Held, transfer: Some(transfer), ..anna() }]);
        }),
        ("transfer-failed", |ui| {
            show(ui, vec![anna()]);
            ui.call_notice.set(Some("204 was not reached: busy.".to_owned()));
        }),
        ("transfer-asked", |ui| {
            let held = CallSnapshot { hold: HoldState::Held, ..anna() };
            let asked = CallSnapshot { hold: HoldState::None, consults_for: Some(held.id.clone()), ..bob() };
            show(ui, vec![held, asked]);
        }),
        ("referral", |ui| show(ui, vec![CallSnapshot { referral: Some("Clara Novak".to_owned()), ..anna() }])),
        ("call-elsewhere", |ui| {
            show(ui, vec![CallSnapshot { page: Some("there".to_owned()), ..anna() }]);
        }),
        ("incoming", |ui| show(ui, vec![ringing()])),
        ("incoming-busy", |ui| {
            show(ui, vec![anna(), CallSnapshot { display_name: Some("Clara Novak".to_owned()), ..ringing() }]);
        }),
        ("recents", |ui| ui.tab.set(Tab::Recents)),
        ("part-replaced", |ui| {
            ui.tab.set(Tab::Settings);
            ui.secondary.set(SecondaryPart::Failed(LoadFailure::Replaced));
        }),
        ("part-unreachable", |ui| {
            ui.tab.set(Tab::Recents);
            ui.secondary.set(SecondaryPart::Failed(LoadFailure::Unreachable));
        }),
        ("recents-empty", |ui| {
            ui.tab.set(Tab::Recents);
            ui.recents.set(Vec::new());
        }),
        ("settings", |ui| ui.tab.set(Tab::Settings)),
        ("settings-caller-ids", |ui| {
            ui.tab.set(Tab::Settings);
            let list = ["+15550100200", "sip:customer.relations@cholmondeley-featherstonehaugh.example"];
            ui.caller_ids.set(CallerIds {
                list: list.map(str::to_owned).to_vec(),
                chosen: "+15550100200".to_owned(),
                error: Some("“+15550100200” is in the list already.".to_owned()),
            });
        }),
        ("settings-recordings", |ui| {
            ui.tab.set(Tab::Settings);
            let recording = |id: &str, name: &str, ago: u64, seconds: u64| Recording {
                id: id.to_owned(),
                name: name.to_owned(),
                number: "+4930901820".to_owned(),
                direction: CallDirection::Inbound,
                started_at: NOW - ago * 1_000,
                milliseconds: seconds * 1_000,
                bytes: seconds * 4_000,
                gaps: Vec::new(),
                is_over: true,
            };
            let gaps = vec![Gap { at: 95_000, lasted: 24_000, paused: true }];
            ui.recordings.set(vec![
                Recording { gaps, ..recording("a", "Anna Schmidt", 900, 372) },
                recording("b", "Dr. Wilhelmina Featherstonehaugh-Cholmondeley, Customer Relations", 90_000, 4_021),
            ]);
            ui.recording_quota.set(Some(StorageQuota { used: 10 << 20, all: 2 << 30 }));
            ui.playback.set(Some(Playback { id: "a".to_owned(), milliseconds: 124_000, is_playing: true }));
        }),
    ]
}

/// A made-up logo, so many units wide and 120 high.
fn logo(ui: Ui, width: u32, mode: HeaderMode) {
    let drawn = |colour: &str| {
        Some(format!(
            "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} 120'%3E\
             %3Crect width='{width}' height='120' rx='30' fill='{colour}'/%3E%3C/svg%3E"
        ))
    };
    let config = ui.config.get_clone_untracked().map(|config| {
        let mut config = (*config).clone();
        config.branding.header_mode = mode;
        config.branding.logo_light = drawn("teal");
        config.branding.logo_dark = drawn("aquamarine");
        Rc::new(config)
    });
    ui.config.set(config);
}

fn signed_out(ui: Ui, screen: Screen) {
    ui.screen.set(screen);
    ui.signed_in_as.set(None);
    ui.snapshot.set(AgentSnapshot::default());
}

fn show(ui: Ui, calls: Vec<CallSnapshot>) {
    let active = calls.last().map(|call| call.id.clone());
    ui.levels.set(MeterBars { microphone: 3, remote: 4 });
    ui.snapshot.set(AgentSnapshot { registration: registered(), calls, active, ..AgentSnapshot::default() });
}

/// With Anna, Bob and Clara, who came last.
fn in_conference(ui: Ui, muted: &[&str]) {
    let bob = CallSnapshot { hold: HoldState::None, ..bob() };
    let clara = CallSnapshot {
        id: "clara".to_owned(),
        display_name: Some("Clara Novak".to_owned()),
        answered_at: Some(NOW - 31_000),
        ..anna()
    };
    show(ui, vec![anna(), bob, clara]);
    ui.snapshot.update(|snapshot| {
        let party = |id: &str| Party { call: id.to_owned(), muted: muted.contains(&id) };
        snapshot.conference = ["anna", "bob", "clara"].map(party).to_vec();
    });
}

fn registered() -> RegistrationStatus {
    RegistrationStatus::Registered {
        username: "101".to_owned(),
        domain: "acme.sip.bitcall.internal".to_owned(),
        server: "wss://phone.example/sip".to_owned(),
        session: None,
    }
}

fn failed(code: RegistrationFailureCode, text: &str) -> RegistrationStatus {
    RegistrationStatus::Failed { reason: RegistrationFailure { code, sip_code: None, text: text.to_owned() } }
}

fn account() -> SignInCredentials {
    SignInCredentials {
        username: "101".to_owned(),
        domain: "acme.sip.bitcall.internal".to_owned(),
        secret: RedactedSecret(AccountSecret::Ha1 { ha1s: Vec::new() }),
    }
}

fn anna() -> CallSnapshot {
    CallSnapshot {
        id: "anna".to_owned(),
        direction: CallDirection::Outbound,
        number: "+4930901820".to_owned(),
        display_name: Some("Anna Schmidt".to_owned()),
        requested_caller_id: None,
        state: CallState::Active,
        hold: HoldState::None,
        remote_held: false,
        muted: false,
        recording: RecordingState::Off,
        voice: true,
        rings: false,
        started_at: NOW - 280_000,
        answered_at: Some(NOW - 272_000),
        page: Some("here".to_owned()),
        detached: false,
        transfer: None,
        consults_for: None,
        referral: None,
        diverted_from: None,
        auto_answer: false,
        headers: Vec::new(),
    }
}

fn bob() -> CallSnapshot {
    CallSnapshot {
        id: "bob".to_owned(),
        display_name: Some("Bob Tanaka".to_owned()),
        number: "102".to_owned(),
        hold: HoldState::Held,
        answered_at: Some(NOW - 131_000),
        ..anna()
    }
}

fn ringing() -> CallSnapshot {
    CallSnapshot {
        id: "in".to_owned(),
        direction: CallDirection::Inbound,
        state: CallState::Incoming,
        answered_at: None,
        page: None,
        diverted_from: Some("Sales".to_owned()),
        ..anna()
    }
}

fn history() -> Vec<RecentCall> {
    let entry = |id: &str, name: Option<&str>, number: &str, direction, seconds, ago: u64, cause: &str| RecentCall {
        id: id.to_owned(),
        number: number.to_owned(),
        name: name.map(str::to_owned),
        direction,
        answered: seconds > 0,
        missed: cause == "Missed",
        at: NOW - ago * 60_000,
        seconds,
        cause: cause.to_owned(),
        wrong_number: false,
        diverted_from: (id == "4").then(|| "Sales".to_owned()),
    };
    vec![
        entry("1", Some("Anna Schmidt"), "+4930901820", CallDirection::Outbound, 272, 9, "Hung up"),
        entry("2", Some("Bob Tanaka"), "102", CallDirection::Inbound, 0, 46, "Missed"),
        entry("3", None, "+15551234567", CallDirection::Outbound, 0, 120, "Busy"),
        entry("4", Some("Clara Novak"), "+420221990111", CallDirection::Inbound, 1284, 190, "Remote hung up"),
        entry(
            "5",
            Some("Dr. Wilhelmina Featherstonehaugh-Cholmondeley"),
            "+441632960961",
            CallDirection::Inbound,
            61,
            1500,
            "Remote hung up",
        ),
        entry("6", None, "*43", CallDirection::Outbound, 12, 1600, "Hung up"),
        entry("7", Some("Bob Tanaka"), "102", CallDirection::Inbound, 0, 4400, "Missed"),
        entry("8", None, "+33142685300", CallDirection::Outbound, 340, 4500, "Hung up"),
    ]
}
