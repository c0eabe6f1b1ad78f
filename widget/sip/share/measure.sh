#!/bin/sh
# Prints how much of the phone's WASM the SIP messages, transactions and digest take: built like the
# phone, raw and gzipped. Fails where it is more than the project promises.
set -eu
cd "$(dirname "$0")/../../.."
# The server's flags are of another target.
unset RUSTFLAGS CARGO_BUILD_TARGET
target=${CARGO_TARGET_DIR:-target}/phone
# The names that debuggers want are not part of what ships.
CARGO_PROFILE_PHONE_STRIP=symbols ${CARGO:-cargo} build --quiet --locked -p bitcall-sip-share \
    --profile phone --target wasm32-unknown-unknown --target-dir "$target/share"
wasm=$target/share/wasm32-unknown-unknown/phone/bitcall-sip-share.wasm
raw=$(wc -c <"$wasm")
gzip=$(gzip -9 -c "$wasm" | wc -c)
printf 'SIP messages, transactions and digest as WASM\n'
printf '%-10s%10s%14s\n' '' bytes 'at most'
printf '%-10s%10s%14s\n' raw "$raw" 110000 gzip "$gzip" 45000
[ "$raw" -le 110000 ] && [ "$gzip" -le 45000 ]
