#!/usr/bin/env bash
# Every number that the project claims, beside its peers in the same run, as tables. Ratios count, not times:
# machines differ. Exits non-zero when something did not run, or the phone grew too large.
set -uo pipefail
cd "$(dirname "$0")/.."

failed=()
run() {
    echo
    echo "== $1"
    shift
    "$@" || failed+=("$*")
}

echo "$(date -u +%F), $(nproc) × $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
run 'SIP messages beside sipx-sip and ezk-sip-types' cargo bench --locked -q -p bitcall-sip --bench parse
run 'SIP in the phone: bytes of WASM' widget/sip/share/measure.sh
run 'The appliance beside nginx' cargo bench --locked -q --bench appliance
run 'The phone beside JsSIP' cargo bench --locked -q --bench phone

if [ ${#failed[@]} -gt 0 ]; then
    printf '\nDid not hold, or did not run: %s\n' "${failed[@]}"
    exit 1
fi
