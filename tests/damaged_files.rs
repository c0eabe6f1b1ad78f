//! Files of the data directory that are damaged or missing: the server and every command refuse them by name.

use std::path::Path;

use crate::appliance::Running;
use crate::installation::Installation;

/// Does something to a data directory.
type Damage = fn(&Path);

async fn stopped() -> (Installation, String) {
    let mut bitcall = Installation::serving().await;
    let key = bitcall.tenant("acme", "free").await;
    bitcall.stop().await;
    (bitcall, key)
}

/// What `serve` says when it ends, and what a command says that opens the store itself.
fn refusals(bitcall: &Installation) -> [String; 2] {
    let log = bitcall.command().get_current_dir().unwrap().join("refused");
    let mut server = Running::start(bitcall.command().arg("serve"), &log);
    let status = server.ended();
    assert!(!status.success() && !server.log().contains("\"ready\""), "{}", server.log());
    let command = bitcall.bitcall(&["tenant", "list"]);
    assert_ne!(command.exit, 0, "{command:?}");
    assert!(!command.err.contains("root"), "it is not a matter of rights: {}", command.err);
    [server.log(), command.err]
}

fn flip(path: &Path, text: &[u8]) {
    let mut bytes = std::fs::read(path).unwrap();
    let places: Vec<_> = (0..bytes.len() - text.len()).filter(|at| bytes[*at..].starts_with(text)).collect();
    for at in places {
        bytes[at] ^= 1;
    }
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_or_missing_file_ends_the_start_with_its_name_and_the_way_back() {
    let faults: [(&str, Damage); 5] = [
        ("bitcall.redb", |data| flip(&data.join("bitcall.redb"), b"acme")),
        ("bitcall.redb", |data| std::fs::write(data.join("bitcall.redb"), "").unwrap()),
        ("bitcall.redb is missing", |data| std::fs::remove_file(data.join("bitcall.redb")).unwrap()),
        ("key-pepper is missing", |data| std::fs::remove_file(data.join("key-pepper")).unwrap()),
        ("key-pepper", |data| {
            let mut bytes = std::fs::read(data.join("key-pepper")).unwrap();
            bytes[7] ^= 1;
            std::fs::write(data.join("key-pepper"), bytes).unwrap();
        }),
    ];
    for (name, damage) in faults {
        let (bitcall, _) = stopped().await;
        damage(&bitcall.data());
        for words in refusals(&bitcall) {
            assert!(words.contains(name) && words.contains("restore"), "{words}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_pepper_can_be_accepted_and_costs_the_api_keys_only() {
    let (mut bitcall, key) = stopped().await;
    std::fs::remove_file(bitcall.data().join("key-pepper")).unwrap();
    let accepted = bitcall.bitcall(&["store", "accept-loss"]);
    assert_eq!(accepted.exit, 0, "{accepted:?}");
    bitcall.start().await;
    assert_eq!(bitcall.runtime(&key, None).await.status, 401);
    let made = bitcall.bitcall(&["key", "create", "acme", "--json"]).json();
    assert_eq!(bitcall.runtime(made["apiKey"].as_str().unwrap(), None).await.status, 200);
    bitcall.stop().await;
}
