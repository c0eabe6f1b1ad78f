//! Header values as common servers and phones send them must pass validation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bitcall_sip::message::{Message, Request};

fn accepted(headers: &str) -> Request {
    let text = format!(
        "INVITE sip:101@192.0.2.4:5060 SIP/2.0\nVia: SIP/2.0/TCP 192.0.2.4;branch=z9hG4bK1\nFrom: <sip:a@b>;tag=1\n\
         To: <sip:101@b>\nCall-ID: x\nCSeq: 102 INVITE\nMax-Forwards: 70\n{headers}\n\n"
    );
    let Ok(Message::Request(request)) = Message::parse(text.replace('\n', "\r\n").as_bytes()) else { panic!("{text}") };
    request.validate().unwrap_or_else(|error| panic!("{error}: {headers}"));
    request
}

#[test]
fn contacts_of_common_phones_and_servers_are_accepted() {
    for contact in [
        // JsSIP, SIP.js
        r#"<sip:3gjq9l2e@s5bqkvpmml8u.invalid;transport=ws>;+sip.ice;reg-id=1;+sip.instance="<urn:uuid:6a0d2ef4-5b1a-4d8e-9c5f-3f5e0a0e2a1b>";expires=600"#,
        "<sip:tq2ssp5r@192.0.2.180;transport=ws;ob>",
        // Kamailio's registrar
        r#"<sip:a@b.invalid;transport=ws>;expires=600;received="sip:127.0.0.1:49204;transport=ws";pub-gruu="sip:101@acme;gr=urn:uuid:1";temp-gruu="sip:uloc-1@acme;gr";reg-id=1"#,
        // FreeSWITCH
        "<sip:mod_sofia@192.0.2.7:5060;alias=192.0.2.9~5060~1>",
        "<sip:gw+outbound-trunk@192.0.2.7:5080;transport=tcp;gw=outbound-trunk>",
        "<sip:101@192.0.2.5:5060;fs_nat=yes;fs_path=sip%3A101%40192.0.2.9%3A5060%3Btransport%3Dtcp>",
        // Asterisk
        "<sip:asterisk@192.0.2.1:5060;transport=ws>",
        "<sip:*21*100%23@192.0.2.1>",
        "<sip:192.0.2.1>",
        // Cisco, a large provider, Linphone, Grandstream
        r#"<sip:9c1f-4e@192.0.2.2:5060;transport=tcp>;+u.sip!devicename.ccm.cisco.com="SEP0011";+u.sip!model.ccm.cisco.com="497""#,
        "<sip:api-du-a-euwe.pstnhub.example.com:443;x-i=123-4;x-c=abc/s/1/2>",
        r#"<sip:bob@192.0.2.3;pn-provider=apns;pn-param=ABC.org.example.voip&remote;pn-prid=00fc:voip;pn-timeout=0>;+org.example.specs="groupchat/1.1,lime""#,
        r#"<sip:1000@192.0.2.6:5062;line=>;reg-id=1;methods="INVITE, ACK, BYE";x="#,
        "<sip:#31#100@192.0.2.6>, <sip:[2001:db8::1]:5060;transport=tcp>;q=0.1",
        "<tel:+4930123;phone-context=example.com>",
        "*",
    ] {
        let request = accepted(&format!("Contact: {contact}"));
        assert!(request.contacts().all(|contact| contact.is_ok()));
    }
}

#[test]
fn display_names_and_routes_of_common_phones_and_servers_are_accepted() {
    for header in [
        "Record-Route: <sip:192.0.2.1;transport=ws;r2=on;lr=on;ftag=as1;nat=yes>,<sip:192.0.2.1;r2=on;lr;did=a9.b3c2;vsf=AAAA-->",
        "Route: <sips:edge_1.example.com:443;transport=wss;lr>",
        "Service-Route: <sip:HSP3.HOME.EXAMPLE.COM;lr>",
        "Path: <sip:P3.EXAMPLEHOME.COM;lr>, <sip:P1.EXAMPLEVISITED.COM;lr;ob>",
        "Contact: Müller Straße <sip:m@192.0.2.1>",
        "Contact: \"Ali\\\"ce, O'Hara (Büro)\" <sip:m@192.0.2.1>",
        "Contact: \"\"<sip:m@192.0.2.1>",
        "Contact: sip:m@192.0.2.1;expires=0",
        "Via: SIP/2.0/UDP 192.0.2.1:5060;rport=5060;received=2001:db8::9;branch=z9hG4bK.~_1;i=4f2;keep;alias",
        "Subject: ",
        "Date: yesterday",
    ] {
        accepted(header);
    }
}
