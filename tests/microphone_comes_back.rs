//! A microphone that is unplugged in a call is missed aloud, and used again when it is back.

use crate::rig::desk::Office;
use crate::rig::sipp::Sipp;

/// Keeps what was opened, so that it can be "unplugged": no switch of the browser does that.
const WATCH: &str = "(() => {
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
async fn a_microphone_that_was_unplugged_comes_back_in_the_same_call() {
    let office = Office::open().await;
    let desk = office.desk().await;
    let far = Sipp::called(&office.kamailio, "answer").await;
    desk.phone.eval(WATCH).await;
    desk.dial(&far.number).await;
    desk.phone.hears(Office::TONE).await;

    desk.phone.eval("unplug()").await;
    desk.phone.sees("No microphone found").await;
    desk.phone.until("__rig.hear().then((all) => all.every((c) => c.pitch === 0))").await;
    desk.phone.eval("plugIn()").await;
    desk.phone.hears(Office::TONE).await;
    desk.phone.until("!document.body.innerText.includes('No microphone found')").await;
    desk.phone.click("button", "Hang up").await;
    far.succeeds().await;
}
