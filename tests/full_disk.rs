//! A full disk under the log file.

use std::process::Stdio;

use crate::appliance::wait_until;
use crate::installation::Installation;

#[tokio::test]
async fn an_unwritable_log_stops_no_request() {
    let bitcall = Installation::new();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut server = bitcall.command().arg("serve").stdin(Stdio::null()).stderr(full).spawn().unwrap();
    wait_until("its control socket", || {
        assert!(server.try_wait().unwrap().is_none(), "it ended");
        std::os::unix::net::UnixStream::connect(bitcall.socket()).ok()
    });
    let made = bitcall.bitcall(&["tenant", "provision", "acme", "--json"]).json();
    assert_eq!(made["tenantId"], "acme");
    server.kill().unwrap();
    server.wait().unwrap();
}
