//! Compiles phone and agent to one WebAssembly module.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;

/// Runs cargo for the WASM module; returns its file.
pub fn compile_wasm() -> Result<PathBuf> {
    let profile = env::var("BITCALL_PHONE_PROFILE").unwrap_or_else(|_| "phone".into());
    let target_dir =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from).join("phone");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["rustc", "--locked", "-p", "bitcall-bundle", "--lib"])
        .args(["--target", "wasm32-unknown-unknown", "--profile", &profile])
        .arg("--target-dir")
        .arg(&target_dir);
    // Flags meant for the machine that runs the appliance say nothing about the browser.
    for name in ["RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTC_WORKSPACE_WRAPPER"] {
        cargo.env_remove(name);
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags().join("\u{1f}"));
    toolchain()?.configure(&mut cargo);
    // The splitter reads what refers to what from the relocations (build/parts.rs).
    cargo.args(["--", "-C", "link-args=--emit-relocs"]);
    let status = cargo.status().map_err(|e| format!("cannot start cargo for the phone: {e}"))?;
    if !status.success() {
        return Err("the phone does not compile for wasm32-unknown-unknown (see the errors above)".into());
    }
    let directory = if profile == "dev" { "debug" } else { &profile };
    Ok(target_dir.join("wasm32-unknown-unknown").join(directory).join("bitcall_bundle.wasm"))
}

fn flags() -> Vec<String> {
    // sha2's unrolled compression function is 8 KB of code, for one digest of a registration.
    let mut flags = vec!["--cfg=sha2_backend_soft=\"compact\"".to_owned()];
    // Panics name the file. Without the place of a machine's crates the module is the same on all.
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"));
    flags.extend(cargo_home.or(home).map(|cargo| format!("--remap-path-prefix={}=cargo", cargo.display())));
    flags
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
