//! A call that is answered without the person, after a tone.

use std::rc::Rc;

use bitcall_wire::agent_protocol::CallId;
use wasm_bindgen_futures::spawn_local;

use super::App;
use crate::browser::{monotonic_ms, sleep};
use crate::media::Media;
use crate::tones::patterns::auto_answer_tone;
use crate::tones::synthesizer::PlayingPattern;
use crate::ui::Tab;

/// How late the tone may begin. Whatever was slow, the call rings then.
const MAX_TONE_DELAY_MS: u64 = 1_000;

pub fn auto_answer(app: &Rc<App>, call: CallId, asked_at: u64) {
    let Some(media) = app.media() else { return };
    app.ui.tab.set(Tab::Keypad);
    let app = Rc::clone(app);
    spawn_local(async move {
        if play_tone(&media, asked_at).await {
            app.with_agent(|agent| agent.auto_answer(&call));
        }
    });
}

/// False where it was not heard, or too late.
async fn play_tone(media: &Media, asked_at: u64) -> bool {
    // The browser may wait for a gesture.
    let Some(context) = media.running_context().await else { return false };
    if monotonic_ms() > asked_at + MAX_TONE_DELAY_MS {
        return false;
    }
    let pattern = auto_answer_tone();
    let playing = PlayingPattern::start(&context, &pattern);
    sleep(pattern.period_ms).await;
    playing.is_some()
}
