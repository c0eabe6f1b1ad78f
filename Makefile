# The front door. Every target installs what it lacks, says so, and can be run again.

SHELL := /bin/bash
CARGO ?= cargo
CARGO_DENY := 0.20.2
ARCH := $(shell uname -m)
STATIC_TARGET := $(ARCH)-unknown-linux-gnu
# Where cargo builds; the environment may name another place.
TARGET := $(or $(CARGO_TARGET_DIR),target)
# Static, so that it runs on any distribution. Packed relocations make the binary a megabyte smaller, all of which
# every start would read. AWS_LC_SYS_NO_JITTER_ENTROPY: aws-lc otherwise collects CPU timing jitter as a second
# source of entropy at start, which costs 70 ms; the kernel's getrandom(2) is sufficient.
RELEASE_ENV := RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs" \
	AWS_LC_SYS_NO_JITTER_ENTROPY=1

.PHONY: help demo build test lint deny release bench fuzz build-tools wasm-target test-tools bench-tools

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: build ## Build and start a phone to try at once: prints a URL to open
	$(TARGET)/debug/bitcall demo

build: build-tools wasm-target ## Build target/debug/bitcall, phone included
	$(CARGO) build --locked

test: build-tools wasm-target test-tools lint ## Everything: lints, unit tests, real browsers, real SIP servers
	$(CARGO) test --locked --workspace

lint: ## Formatting and lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

# Not part of `lint`: there is no packaged cargo-deny that reads what this cargo says, and building it takes minutes.
deny: ## Licences, sources and known faults of the dependencies (builds cargo-deny at its first run)
	@target/tools/bin/cargo-deny --version 2>/dev/null | grep -q '$(CARGO_DENY)$$' \
		|| $(CARGO) install --locked --quiet --root target/tools cargo-deny@$(CARGO_DENY)
	target/tools/bin/cargo-deny --locked check

release: build-tools wasm-target ## One static binary: target/release/bitcall
	$(RELEASE_ENV) $(CARGO) build --locked --release --target $(STATIC_TARGET)
	mkdir -p $(TARGET)/release
	cp $(TARGET)/$(STATIC_TARGET)/release/bitcall $(TARGET)/release/bitcall
	@ldd $(TARGET)/release/bitcall 2>&1 | grep -q -e 'statically linked' -e 'not a dynamic executable' \
		|| { echo '$(TARGET)/release/bitcall is not static:'; ldd $(TARGET)/release/bitcall; exit 1; }
	@ls -lh $(TARGET)/release/bitcall

# The benches build the server with the release's flags; `make release` first would build it twice.
bench: build-tools wasm-target test-tools bench-tools ## Every number that the project claims, beside its peers, as tables
	$(RELEASE_ENV) CARGO_BUILD_TARGET=$(STATIC_TARGET) tests/bench.sh

fuzz: ## Five minutes of fuzzing over SIP message bytes (needs a nightly toolchain and cargo-fuzz)
	$(CARGO) run --quiet --package bitcall-sip --example fuzz_seeds -- fuzz/corpus/message
	cd fuzz && $(CARGO) +nightly fuzz run message -- -dict=sip.dict -max_len=4096 -max_total_time=300

# A linker and a C compiler: Rust needs the one, the TLS library the other.
build-tools:
	@command -v cc >/dev/null || packaging/install.sh gcc libc6-dev

wasm-target:
	@if command -v rustup >/dev/null; then \
		rustup target list --installed | grep -qx wasm32-unknown-unknown \
		|| { echo 'Installing the Rust target wasm32-unknown-unknown'; rustup target add wasm32-unknown-unknown; }; \
	else \
		packaging/install.sh rustc-web rust-web-src lld; \
	fi

test-tools:
	@tests/install-tools.sh

# JsSIP and SIP.js, the peers that the phone is measured beside, come from the npm registry.
bench-tools:
	@packaging/install.sh knot nsd
	@command -v npm >/dev/null || packaging/install.sh npm
