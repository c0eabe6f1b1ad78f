//! The running server conforms to its `OpenAPI` document: schemathesis generates valid and invalid requests from it and
//! checks every answer.

use std::path::Path;
use std::process::Command;

use crate::appliance;
use crate::installation::{Installation, MASTER_SECRET, PANEL_KEY};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_running_server_conforms_to_its_openapi_document() {
    let bitcall = Installation::serving().await;
    let key = bitcall.tenant("storefront", "enterprise").await;
    bitcall.tenant("acme_corp", "pro").await;
    let place = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tester = Command::new(place.join("target/tools/schemathesis/bin/schemathesis"));
    tester
        .current_dir(bitcall.data().parent().unwrap())
        .arg("--config-file")
        .arg(place.join("tests/schemathesis.toml"))
        .arg("run")
        .arg(format!("{}/api/openapi.json", bitcall.origin()))
        .env("SCHEMATHESIS_HOOKS", place.join("tests/schemathesis_hooks.py"))
        .env("PANEL_KEY", PANEL_KEY)
        .env("MASTER_SECRET", MASTER_SECRET)
        .env("TENANT_KEY", key);
    let (status, out, err) = tokio::task::spawn_blocking(move || appliance::run(&mut tester)).await.unwrap();
    println!("{out}");
    assert!(status.success(), "schemathesis ended with {status}; its findings are above\n{err}");
    assert_eq!(bitcall.send("GET", "/api/openapi.json", &[], "").await.status, 200, "the server is still there");
}
