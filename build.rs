//! Builds the phone and embeds it, so that `cargo build` alone makes the whole
//! appliance: the WASM module is compiled in a target directory of its own, cut into the part that loads first and the
//! one that loads later, and bound by wasm-bindgen's library at the locked version. All files are minified, named by
//! their content's hash, compressed, and listed in `$OUT_DIR/assets.rs`.
//!
//! Environment:
//! - `BITCALL_PHONE_PROFILE=dev` compiles the phone quickly instead of small.
//! - `BITCALL_SKIP_PHONE=1` embeds a notice in the phone's place, for work on the server alone.

#[path = "build/assets.rs"]
mod assets;
#[path = "build/budgets.rs"]
mod budgets;
#[path = "build/compile.rs"]
mod compile;
#[path = "build/minify.rs"]
mod minify;
#[path = "build/parts.rs"]
mod parts;

use std::path::Path;
use std::{env, fs};

use assets::Assets;
use bitcall_wire::host_protocol::{self, bindings};
use minify::{minify_css, minify_html, minify_js};

type Result<T> = std::result::Result<T, String>;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=Cargo.lock");
    println!("cargo::rerun-if-changed=widget");
    println!("cargo::rerun-if-env-changed=BITCALL_PHONE_PROFILE");
    println!("cargo::rerun-if-env-changed=BITCALL_SKIP_PHONE");
    if let Err(error) = run() {
        println!("cargo::error={error}");
        std::process::exit(1);
    }
}

fn run() -> Result<()> {
    let mut assets = Assets::default();
    if env::var_os("BITCALL_SKIP_PHONE").is_some() {
        let notice =
            "<!doctype html><title>Bitcall</title><p>This build has no phone: it was made with BITCALL_SKIP_PHONE.";
        assets.add("/webphone/", "index.html", notice.into())?;
    } else {
        add_phone(&mut assets)?;
    }
    let loader = read("widget/loader/loader.js")?.replace("{{protocol}}", &bindings::loader_tables());
    assets.add("/webphone/", "loader.js", minify_js("loader.js", &loader)?.into_bytes())?;
    assets.add("/webphone/", "loader.d.ts", bindings::typescript().into_bytes())?;
    add_site(&mut assets)?;
    keep_within_budgets(&assets)?;
    assets.write()
}

fn add_phone(assets: &mut Assets) -> Result<()> {
    let mut module = parts::split_and_bind(&compile::compile_wasm()?)?;
    let part = assets.add_hashed("/webphone/", "secondary.wasm", std::mem::take(&mut module.part))?;
    let js = module.script(&part)?;
    assets.add_hashed("/webphone/", "bitcall.wasm", module.main)?;
    assets.add_hashed("/webphone/", "bitcall.js", minify_js("bitcall.js", &js)?.into_bytes())?;
    let css = concatenate(Path::new("widget/phone/css"))?;
    assets.add_hashed("/webphone/", "phone.css", minify_css("phone.css", &css)?.into_bytes())?;
    let worker = assets.fill(&read("widget/agent/worker.js")?)?;
    assets.add_hashed("/webphone/", "worker.js", minify_js("worker.js", &worker)?.into_bytes())?;
    let start = read("widget/phone/start.js")?.replace("{{protocol.version}}", &host_protocol::VERSION.to_string());
    let start = assets.fill(&start)?;
    assets.add_inline("start.js", minify_js("start.js", &start)?);
    let index = assets.fill(&minify_html(&read("widget/phone/index.html")?))?;
    assets.add("/webphone/", "index.html", index.into_bytes())?;
    Ok(())
}

fn keep_within_budgets(assets: &Assets) -> Result<()> {
    if !is_small() {
        return Ok(());
    }
    let is_later = |path: &str| path.starts_with("/webphone/secondary-") || path.ends_with(".d.ts");
    for (what, bytes, budget) in [
        ("the loader", assets.transferred(|path| path == "/webphone/loader.js"), budgets::LOADER),
        (
            "what a phone loads first",
            assets.transferred(|path| path.starts_with("/webphone/") && !is_later(path)),
            budgets::FIRST_LOAD,
        ),
        (
            "the whole phone",
            assets.transferred(|path| path.starts_with("/webphone/") && !path.ends_with(".d.ts")),
            budgets::WHOLE,
        ),
    ] {
        if bytes > budget {
            return Err(format!(
                "{what} has {bytes} bytes of brotli, more than the {budget} of build/budgets.rs: move what is not needed at first to the part that is loaded later (widget/phone/src/screens/secondary.rs)"
            ));
        }
    }
    Ok(())
}

/// Whether the phone is compiled as it ships, and not quickly.
fn is_small() -> bool {
    env::var("BITCALL_PHONE_PROFILE").as_deref().unwrap_or("phone") == "phone"
}

fn add_site(assets: &mut Assets) -> Result<()> {
    let css = read("widget/site/site.css")?;
    assets.add_hashed("/", "site.css", minify_css("site.css", &css)?.into_bytes())?;
    let js = read("widget/site/site.js")?;
    assets.add_hashed("/", "site.js", minify_js("site.js", &js)?.into_bytes())?;
    let index = assets.fill(&read("widget/site/index.html")?)?;
    assets.add("/", "index.html", minify_html(&index).into_bytes())?;
    Ok(())
}

fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| format!("{}: {e}", path.display()))
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))
}

/// Every file of a directory, in the order of their names, without those of directories within.
fn concatenate(directory: &Path) -> Result<String> {
    let failed = |e: std::io::Error| format!("{}: {e}", directory.display());
    let mut paths = fs::read_dir(directory)
        .map_err(failed)?
        .map(|entry| Ok(entry.map_err(failed)?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.retain(|path| path.is_file());
    paths.sort();
    paths.iter().map(|path| read(&path.display().to_string())).collect()
}
