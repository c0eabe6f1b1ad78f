//! A client that openapi-typescript generates from the API's document compiles, and tells refusals apart by status and code.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::appliance;
use crate::installation::{Installation, PANEL_KEY};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generated_typescript_client_compiles_and_reaches_the_code_of_a_refusal() {
    let bitcall = Installation::serving().await;
    bitcall.tenant("acme", "free").await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tools = root.join("target/tools/typescript/node_modules");
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    std::os::unix::fs::symlink(&tools, place.join("node_modules")).expect("`make test-tools` has installed it");
    std::fs::copy(root.join("tests/typescript/client.ts"), place.join("client.ts")).unwrap();
    std::fs::write(place.join("package.json"), json!({ "type": "module" }).to_string()).unwrap();
    let document = bitcall.send("GET", "/api/openapi.json", &[], "").await;
    std::fs::write(place.join("openapi.json"), &document.body).unwrap();

    let generator = tools.join("openapi-typescript/bin/cli.js");
    let compiler = tools.join("typescript/bin/tsc");
    let options = ["--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom"];
    let node = |arguments: &[&str]| {
        let (status, out, err) = appliance::run(Command::new("node").current_dir(place).args(arguments));
        assert!(status.success(), "node {arguments:?} ended with {status}:\n{out}\n{err}");
        out
    };
    let origin = bitcall.origin();
    let said = tokio::task::block_in_place(|| {
        node(&[generator.to_str().unwrap(), "openapi.json", "--output", "api.d.ts"]);
        node(&[&[compiler.to_str().unwrap()], &options[..], &["client.ts"]].concat());
        node(&["client.js", &origin, PANEL_KEY])
    });
    let expected = [
        "200 bk_live_ pages",
        "pages undefined",
        "409 API_KEY_LIMIT_REACHED API_KEY_LIMIT_REACHED",
        "API_KEY_LIMIT_REACHED API_KEY_LIMIT_REACHED",
        "401 PANEL_UNAUTHORIZED PANEL_UNAUTHORIZED",
        "PANEL_UNAUTHORIZED true",
        "400 VALIDATION_ERROR VALIDATION_ERROR",
        "VALIDATION_ERROR purpose",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}
