//! Cuts the compiled module in two and binds it to JavaScript: the main part, which every page loads first, and the
//! part that is loaded when the phone is idle (widget/phone/src/screens/secondary.rs).

use std::collections::BTreeMap;
use std::env;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::{Result, read_bytes};

/// The split point's name in Rust.
const PART: &str = "secondary";
/// What the splitter calls the script that loads the part.
const LINK_SCRIPT: &str = "./__wasm_split.js";

pub struct Module {
    /// The bindings of the main part.
    bindings: String,
    /// Loads the part.
    link_script: String,
    pub main: Vec<u8>,
    pub part: Vec<u8>,
}

/// `wasm` is linked with its relocations.
pub fn split_and_bind(wasm: &Path) -> Result<Module> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: run this by cargo")?).join("parts");
    let main = out.join("bitcall.wasm");
    let input = read_bytes(wasm)?;
    let mut options = wasm_split_cli_support::Options::new(&input);
    options.output_dir = &out;
    options.main_out_path = &main;
    options.main_module = "./bitcall.js";
    options.link_name = LINK_SCRIPT;
    let split =
        wasm_split_cli_support::transform(options).map_err(|e| format!("cannot split {}: {e}", wasm.display()))?;
    let [part] = &split.split_modules[..] else {
        return Err(format!(
            "the phone's module has {} parts besides the main one instead of one: is the split point of widget/phone/src/screens/secondary.rs reached?",
            split.split_modules.len()
        ));
    };
    let (bindings, main) = bind("bitcall", &main)?;
    Ok(Module {
        bindings,
        link_script: String::from_utf8_lossy(&read_bytes(&out.join(LINK_SCRIPT))?).into_owned(),
        main,
        part: without_custom_sections(&read_bytes(part)?)?,
    })
}

impl Module {
    /// The script of both, in which the part is the file `part`. They are two scripts that import each other; as one,
    /// it can be named by its content.
    pub fn script(&self, part: &str) -> Result<String> {
        let placeholder = format!("./split_{PART}.wasm");
        let is_import = |line: &str| line.starts_with("import ");
        if !self.bindings.lines().any(|line| is_import(line) && line.contains(LINK_SCRIPT))
            || !self.link_script.contains(&placeholder)
        {
            return Err(format!(
                "the splitter's or wasm-bindgen's script has another shape: no {LINK_SCRIPT} or {placeholder}"
            ));
        }
        let mut script = String::new();
        let mut namespaces = String::new();
        for line in self.bindings.lines() {
            // import * as import1 from "./__wasm_split.js"
            match line.split_once("* as ").and_then(|(_, rest)| rest.split_once(" from ")) {
                Some((namespace, _)) if is_import(line) && line.contains(LINK_SCRIPT) => {
                    namespaces.extend(["const ", namespace, " = { __wasm_split_load_", PART, " };\n"]);
                }
                _ => script.extend([line, "\n"]),
            }
        }
        // It imports the bindings, among which it stands now.
        for line in self.link_script.lines().filter(|line| !is_import(line)) {
            let line = line.strip_prefix("export ").unwrap_or(line).replace(&placeholder, &format!("./{part}"));
            script.extend([&line, "\n"]);
        }
        Ok(script + &namespaces)
    }
}

/// The module's JavaScript and its WASM, ready for `import init from './….js'`.
fn bind(module: &str, wasm: &Path) -> Result<(String, Vec<u8>)> {
    let failed = |e: &dyn Display| format!("wasm-bindgen on {}: {e}", wasm.display());
    let mut bindgen = wasm_bindgen_cli_support::Bindgen::new();
    bindgen
        .input_path(wasm)
        .out_name(module)
        .web(true)
        .map_err(|e| failed(&e))?
        .typescript(false)
        // The part finds what it shares with the main part by these.
        .keep_lld_exports(true)
        .demangle(false)
        .omit_default_module_path(true)
        .remove_name_section(true)
        .remove_producers_section(true);
    let mut output = bindgen.generate_output().map_err(|e| failed(&e))?;
    // A crate that exports a type has an entry here, even with nothing in it.
    let snippets = output.snippets().values().any(|snippets| !snippets.is_empty());
    if snippets || !output.local_modules().is_empty() {
        return Err(failed(&"JavaScript snippets are not embedded; put the code into a file of its own"));
    }
    let mut js = output.js().to_owned();
    let module = output.wasm_mut();
    shorten_import_names(&mut js, module);
    Ok((js, module.emit_wasm()))
}

/// The bindings' names have a hash each, which no compression makes smaller. They are keys of one object in the script, and
/// nobody else calls them.
fn shorten_import_names(js: &mut String, module: &mut walrus::Module) {
    let mut short = BTreeMap::new();
    for import in module.imports.iter_mut().filter(|import| import.name.starts_with("__wb")) {
        if js.matches(&import.name).count() == 1 {
            let name = format!("_{:x}", short.len());
            short.insert(std::mem::replace(&mut import.name, name.clone()), name);
        }
    }
    let is_part_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
    *js = js
        .split_inclusive(|c| !is_part_of_name(c))
        .flat_map(|word| {
            let end = word.trim_end_matches(|c| !is_part_of_name(c)).len();
            let (name, rest) = word.split_at(end);
            [short.get(name).map_or(name, String::as_str), rest]
        })
        .collect();
}

/// Names, producers and relocations say nothing to a browser.
fn without_custom_sections(wasm: &[u8]) -> Result<Vec<u8>> {
    let mut config = walrus::ModuleConfig::new();
    config.generate_name_section(false).generate_producers_section(false);
    let mut module = config.parse(wasm).map_err(|e| format!("the phone's part: {e}"))?;
    let sections: Vec<_> = module.customs.iter().map(|(id, _)| id).collect();
    for section in sections {
        module.customs.delete(section);
    }
    Ok(module.emit_wasm())
}
