//! A microphone that is unplugged and replugged during a call.

use crate::rig::sipp::Sipp;
use crate::rig::test_bed::TestBed;

/// Keeps what was opened, so that it can be "unplugged": no switch of the browser does that.
const RECORD_LEVELS: &str = "(() => {
    const devices = navigator.mediaDevices, open = devices.getUserMedia.bind(devices);
    const opened = [];
    window.unplug = () => {
        const tracks = [...opened, ...__rig.connections.flatMap((c) => c.getSenders().map((s) => s.track))];
        window.unplugged = true;
        for (const track of tracks) if (track) { track.stop(); track.dispatchEvent(new Event('ended')); }
        devices.dispatchEvent(new Event('devicechange'));
    };
    window.plugIn = () => { window.unplugged = false; devices.dispatchEvent(new Event('devicechange')); };
    devices.getUserMedia = async (wanted) => {
        if (window.unplugged) throw new DOMException('Requested device not found', 'NotFoundError');
        const stream = await open(wanted);
        opened.push(...stream.getTracks());
        return stream;
    };
})()";

#[tokio::test]
async fn a_replugged_microphone_is_used_again_in_the_same_call() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let far = Sipp::called(&test_bed.kamailio, "answer").await;
    phone.frame.eval(RECORD_LEVELS).await;
    phone.dial(&far.number).await;
    phone.frame.hears(TestBed::TONE).await;

    phone.frame.eval("unplug()").await;
    phone.frame.sees("No microphone found").await;
    phone.frame.until("__rig.hear().then((all) => all.every((c) => c.pitch === 0))").await;
    phone.frame.eval("plugIn()").await;
    phone.frame.hears(TestBed::TONE).await;
    phone.frame.until("!document.body.innerText.includes('No microphone found')").await;
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
}
