//! The files that the binary embeds: named by their content, compressed, and listed in `$OUT_DIR/assets.rs`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::{env, fs};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use crate::{Result, is_small};

#[derive(Default)]
pub struct Assets {
    list: Vec<Asset>,
    /// `phone.js` → `phone-0f3c….js`, or the script itself where it is inline.
    names: BTreeMap<String, String>,
    /// Sources of the inline scripts, as `script-src` names them.
    inline_scripts: Vec<String>,
}

struct Asset {
    path: String,
    content_type: &'static str,
    body: Vec<u8>,
    brotli: Vec<u8>,
    hash: String,
    immutable: bool,
}

impl Assets {
    /// Under its own name; `index.html` stands for the directory itself.
    pub fn add(&mut self, directory: &str, name: &str, body: Vec<u8>) -> Result<()> {
        let path = format!("{directory}{}", if name == "index.html" { "" } else { name });
        let (content_type, hash) = (content_type(name), hash(&body));
        self.list.push(Asset { path, content_type, brotli: brotli(&body)?, body, hash, immutable: false });
        Ok(())
    }

    /// Under a name that holds the content's hash, so that it can be cached for ever. Returns that name.
    pub fn add_hashed(&mut self, directory: &str, name: &str, body: Vec<u8>) -> Result<String> {
        let (content_type, hash) = (content_type(name), hash(&body));
        let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
        let file = format!("{stem}-{hash}.{extension}");
        let path = format!("{directory}{file}");
        self.list.push(Asset { path, content_type, brotli: brotli(&body)?, body, hash, immutable: true });
        self.names.insert(name.to_owned(), file.clone());
        Ok(file)
    }

    /// A script that the page has inline, as it is: the policy of the page allows it by its hash (CSP 3, section 2.3.1).
    pub fn add_inline(&mut self, name: &str, script: String) {
        let hash = BASE64_STANDARD.encode(Sha256::digest(&script));
        self.inline_scripts.push(format!("'sha256-{hash}'"));
        self.names.insert(name.to_owned(), script);
    }

    /// Puts the hashed names, or the inline scripts, in the place of `{{name}}`.
    pub fn fill(&self, source: &str) -> Result<String> {
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

    /// What a browser transfers for the files whose path `counts`, in bytes of brotli.
    pub fn transferred(&self, counts: impl Fn(&str) -> bool) -> usize {
        self.list.iter().filter(|asset| counts(&asset.path)).map(|asset| asset.brotli.len()).sum()
    }

    /// Writes the bodies, plain and compressed, and the table that embeds them.
    pub fn write(&self) -> Result<()> {
        let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: run this by cargo")?);
        let mut table = String::from("pub static ASSETS: &[Asset] = &[\n");
        for (number, asset) in self.list.iter().enumerate() {
            let file = |suffix: &str| out_dir.join(format!("asset{number}{suffix}"));
            let embed = |suffix: &str, body: &[u8]| {
                let path = file(suffix);
                fs::write(&path, body).map_err(|e| format!("{}: {e}", path.display()))?;
                Ok::<_, String>(format!("include_bytes!({:?})", path.display().to_string()))
            };
            let plain = embed("", &asset.body)?;
            let brotli = embed(".br", &asset.brotli)?;
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
        let inline = self.inline_scripts.join(" ");
        writeln!(table, "/// For `script-src`.\nconst INLINE_SCRIPTS: &str = {inline:?};")
            .map_err(|e| e.to_string())?;
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

fn brotli(body: &[u8]) -> Result<Vec<u8>> {
    let quality = if is_small() { 11 } else { 5 };
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
