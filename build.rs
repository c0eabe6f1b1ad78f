//! Builds the phone and embeds it, so that `cargo build` alone makes the whole
//! appliance: the WASM module is compiled in a target directory of its
//! own, bound by wasm-bindgen's library at the locked version, minified, named
//! by their content's hash, compressed, and listed in `$OUT_DIR/assets.rs`.
//!
//! Environment:
//! - `BITCALL_PHONE_PROFILE=dev` compiles the phone quickly instead of small.
//! - `BITCALL_SKIP_PHONE=1` embeds a notice in the phone's place, for work on the server alone.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use bitcall_wire::host_protocol::{self, bindings};
use sha2::{Digest, Sha256};

type Result<T> = std::result::Result<T, String>;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
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
        assets.add("/webphone/", "index.html", notice.into());
    } else {
        add_phone(&mut assets)?;
    }
    let loader = read("widget/loader/loader.js")?.replace("{{protocol}}", &bindings::loader_tables());
    assets.add("/webphone/", "loader.js", minify_js("loader.js", &loader)?.into_bytes());
    assets.add("/webphone/", "loader.d.ts", bindings::typescript().into_bytes());
    add_site(&mut assets)?;
    assets.write()
}

fn add_phone(assets: &mut Assets) -> Result<()> {
    let target_dir = compile_wasm()?;
    let (js, wasm) = bind("bitcall", &target_dir.join("bitcall_bundle.wasm"))?;
    assets.add_hashed("/webphone/", "bitcall.wasm", wasm);
    assets.add_hashed("/webphone/", "bitcall.js", minify_js("bitcall.js", &js)?.into_bytes());
    let css = concatenate(Path::new("widget/phone/css"))?;
    assets.add_hashed("/webphone/", "phone.css", minify_css("phone.css", &css)?.into_bytes());
    let worker = assets.fill(&read("widget/agent/worker.js")?)?;
    assets.add_hashed("/webphone/", "worker.js", minify_js("worker.js", &worker)?.into_bytes());
    let start = read("widget/phone/start.js")?.replace("{{protocol.version}}", &host_protocol::VERSION.to_string());
    let start = assets.fill(&start)?;
    assets.add_hashed("/webphone/", "start.js", minify_js("start.js", &start)?.into_bytes());
    let index = assets.fill(&read("widget/phone/index.html")?)?;
    assets.add("/webphone/", "index.html", minify_html(&index).into_bytes());
    Ok(())
}

fn add_site(assets: &mut Assets) -> Result<()> {
    let css = read("widget/site/site.css")?;
    assets.add_hashed("/", "site.css", minify_css("site.css", &css)?.into_bytes());
    let js = read("widget/site/site.js")?;
    assets.add_hashed("/", "site.js", minify_js("site.js", &js)?.into_bytes());
    let index = assets.fill(&read("widget/site/index.html")?)?;
    assets.add("/", "index.html", minify_html(&index).into_bytes());
    Ok(())
}

// ---------------------------------------------------------------- compiling

/// Runs cargo for the WASM module; returns the directory that holds it.
fn compile_wasm() -> Result<PathBuf> {
    let profile = env::var("BITCALL_PHONE_PROFILE").unwrap_or_else(|_| "phone".into());
    let target_dir =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from).join("phone");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--locked", "-p", "bitcall-bundle"])
        .args(["--target", "wasm32-unknown-unknown", "--profile", &profile])
        .arg("--target-dir")
        .arg(&target_dir);
    // Flags meant for the machine that runs the appliance say nothing about the browser.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTC_WORKSPACE_WRAPPER"] {
        cargo.env_remove(name);
    }
    toolchain()?.configure(&mut cargo);
    let status = cargo.status().map_err(|e| format!("cannot start cargo for the phone: {e}"))?;
    if !status.success() {
        return Err("the phone does not compile for wasm32-unknown-unknown (see the errors above)".into());
    }
    let directory = if profile == "dev" { "debug" } else { &profile };
    Ok(target_dir.join("wasm32-unknown-unknown").join(directory))
}

/// Who can compile for the browser on this machine.
enum Toolchain {
    /// rustup's, with the target installed.
    Own,
    /// Debian's `rustc-web`, building the standard library from `rust-web-src`.
    Debian,
}

fn toolchain() -> Result<Toolchain> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let has_target = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", "wasm32-unknown-unknown"])
        .output()
        .is_ok_and(|out| out.status.success() && Path::new(String::from_utf8_lossy(&out.stdout).trim()).is_dir());
    if has_target {
        return Ok(Toolchain::Own);
    }
    let debian = ["/usr/bin/rustc", "/usr/bin/wasm-ld", "/usr/lib/rustlib/src/rust/library/std"];
    if debian.iter().all(|path| Path::new(path).exists()) {
        return Ok(Toolchain::Debian);
    }
    Err("the WASM target is missing: run `rustup target add wasm32-unknown-unknown` (or `make wasm-target`), then build again".into())
}

impl Toolchain {
    fn configure(&self, cargo: &mut Command) {
        match self {
            Self::Own => {}
            Self::Debian => {
                cargo
                    .arg("-Zbuild-std=std,panic_abort")
                    .env("RUSTC", "/usr/bin/rustc")
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "/usr/bin/wasm-ld");
            }
        }
    }
}

/// The module's JavaScript and its WASM, ready for `import init from './….js'`.
fn bind(module: &str, wasm: &Path) -> Result<(String, Vec<u8>)> {
    let failed = |e: &dyn std::fmt::Display| format!("wasm-bindgen on {}: {e}", wasm.display());
    let mut bindgen = wasm_bindgen_cli_support::Bindgen::new();
    bindgen
        .input_path(wasm)
        .out_name(module)
        .web(true)
        .map_err(|e| failed(&e))?
        .typescript(false)
        .omit_default_module_path(true)
        .remove_name_section(true)
        .remove_producers_section(true);
    let mut output = bindgen.generate_output().map_err(|e| failed(&e))?;
    // A crate that exports a type has an entry here, even with nothing in it.
    let snippets = output.snippets().values().any(|snippets| !snippets.is_empty());
    if snippets || !output.local_modules().is_empty() {
        return Err(failed(&"JavaScript snippets are not embedded; put the code into a file of its own"));
    }
    let bytes = output.wasm_mut().emit_wasm();
    Ok((output.js().to_owned(), bytes))
}

// ---------------------------------------------------------------- minifying

fn minify_js(name: &str, source: &str) -> Result<String> {
    use oxc_codegen::{Codegen, CodegenOptions};
    use oxc_minifier::{Minifier, MinifierOptions};

    let allocator = oxc_allocator::Allocator::default();
    // The loader is a classic script, everything else a module.
    let kind = if name == "loader.js" { oxc_span::SourceType::cjs() } else { oxc_span::SourceType::mjs() };
    let parsed = oxc_parser::Parser::new(&allocator, source, kind).parse();
    if let Some(error) = parsed.diagnostics.first() {
        return Err(format!("{name}: {error}"));
    }
    let mut program = parsed.program;
    let minified = Minifier::new(MinifierOptions::default()).minify(&allocator, &mut program);
    Ok(Codegen::new().with_options(CodegenOptions::minify()).with_scoping(minified.scoping).build(&program).code)
}

fn minify_css(name: &str, source: &str) -> Result<String> {
    use lightningcss::stylesheet::{MinifyOptions, ParserOptions, PrinterOptions, StyleSheet};

    let mut sheet = StyleSheet::parse(source, ParserOptions::default()).map_err(|e| format!("{name}: {e}"))?;
    sheet.minify(MinifyOptions::default()).map_err(|e| format!("{name}: {e}"))?;
    let printer = PrinterOptions { minify: true, ..PrinterOptions::default() };
    Ok(sheet.to_css(printer).map_err(|e| format!("{name}: {e}"))?.code)
}

/// Drops indentation and comments; HTML this small gains nothing from more.
fn minify_html(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, after)) = rest.split_once("<!--") {
        out.push_str(before);
        rest = after.split_once("-->").map_or("", |(_, rest)| rest);
    }
    out.push_str(rest);
    let lines = out.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

// ---------------------------------------------------------------- embedding

#[derive(Default)]
struct Assets {
    list: Vec<Asset>,
    /// `phone.js` → `phone-0f3c….js`
    names: BTreeMap<String, String>,
}

struct Asset {
    path: String,
    content_type: &'static str,
    body: Vec<u8>,
    hash: String,
    immutable: bool,
}

impl Assets {
    /// Under its own name; `index.html` stands for the directory itself.
    fn add(&mut self, directory: &str, name: &str, body: Vec<u8>) {
        let path = format!("{directory}{}", if name == "index.html" { "" } else { name });
        let (content_type, hash) = (content_type(name), hash(&body));
        self.list.push(Asset { path, content_type, body, hash, immutable: false });
    }

    /// Under a name that holds the content's hash, so that it can be cached for ever.
    fn add_hashed(&mut self, directory: &str, name: &str, body: Vec<u8>) {
        let (content_type, hash) = (content_type(name), hash(&body));
        let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
        let file = format!("{stem}-{hash}.{extension}");
        self.list.push(Asset { path: format!("{directory}{file}"), content_type, body, hash, immutable: true });
        self.names.insert(name.to_owned(), file);
    }

    /// Puts the hashed names in the place of `{{name}}`.
    fn fill(&self, source: &str) -> Result<String> {
        let mut out = source.to_owned();
        for (name, file) in &self.names {
            out = out.replace(&format!("{{{{{name}}}}}"), file);
        }
        match out.split_once("{{") {
            Some((_, rest)) => {
                let name = rest.split("}}").next().unwrap_or_default();
                Err(format!("nothing is called {{{{{name}}}}}; known: {:?}", self.names.keys()))
            }
            None => Ok(out),
        }
    }

    /// Writes the bodies, plain and compressed, and the table that embeds them.
    fn write(&self) -> Result<()> {
        let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: run this by cargo")?);
        let quick = env::var("BITCALL_PHONE_PROFILE").is_ok_and(|profile| profile == "dev");
        let mut table = String::from("pub static ASSETS: &[Asset] = &[\n");
        for (number, asset) in self.list.iter().enumerate() {
            let file = |suffix: &str| out_dir.join(format!("asset{number}{suffix}"));
            let embed = |suffix: &str, body: &[u8]| {
                let path = file(suffix);
                fs::write(&path, body).map_err(|e| format!("{}: {e}", path.display()))?;
                Ok::<_, String>(format!("include_bytes!({:?})", path.display().to_string()))
            };
            let plain = embed("", &asset.body)?;
            let brotli = embed(".br", &brotli(&asset.body, if quick { 5 } else { 11 })?)?;
            let gzip = embed(".gz", &gzip(&asset.body)?)?;
            let Asset { path, content_type, hash, immutable, .. } = asset;
            writeln!(
                table,
                "Asset {{ path: {path:?}, content_type: {content_type:?}, body: {plain}, brotli: Some({brotli}), gzip: Some({gzip}), etag: {:?}, immutable: {immutable} }},",
                format!("\"{hash}\""),
            )
            .map_err(|e| e.to_string())?;
        }
        table.push_str("];\n");
        let path = out_dir.join("assets.rs");
        fs::write(&path, table).map_err(|e| format!("{}: {e}", path.display()))
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "wasm" => "application/wasm",
        _ => "text/plain; charset=utf-8",
    }
}

/// 64 bits are plenty to tell one build's files from another's.
fn hash(body: &[u8]) -> String {
    Sha256::digest(body).iter().take(8).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn brotli(body: &[u8], quality: u32) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut writer = brotli::CompressorWriter::new(&mut out, 1 << 16, quality, 22);
    writer.write_all(body).map_err(|e| format!("brotli: {e}"))?;
    drop(writer);
    Ok(out)
}

fn gzip(body: &[u8]) -> Result<Vec<u8>> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    writer.write_all(body).and_then(|()| writer.finish()).map_err(|e| format!("gzip: {e}"))
}

// ---------------------------------------------------------------- reading

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))
}

/// Every file of a directory, in the order of their names.
fn concatenate(directory: &Path) -> Result<String> {
    let failed = |e: std::io::Error| format!("{}: {e}", directory.display());
    let mut paths = fs::read_dir(directory)
        .map_err(failed)?
        .map(|entry| Ok(entry.map_err(failed)?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    paths.iter().map(|path| read(&path.display().to_string())).collect()
}
