#!/usr/bin/env bash
# Installs what the behaviour tests need and this machine lacks: two browsers, one with its driver, a sound server for the other, a SIP server with
# WebSockets and TLS, a media proxy, far ends, a reader of sound files, a tester of HTTP APIs, a generator of TypeScript
# clients, libraries of host pages, tcpdump, dig, and nginx and Caddy for the benchmarks.
set -euo pipefail
cd "$(dirname "$0")/.."

packaging/install.sh \
    chromium chromium-driver firefox-esr pulseaudio \
    kamailio kamailio-websocket-modules kamailio-tls-modules rtpengine-daemon \
    sip-tester baresip-core tcpdump coturn ffmpeg \
    nginx-light caddy bind9-dnsutils \
    curl python3-venv \
    pebble \
    util-linux iproute2 openssl

# schemathesis and what it needs, all at the versions of the list.
place=target/tools/schemathesis
if ! cmp -s tests/schemathesis.txt "$place/installed.txt"; then
    echo "Installing $(grep schemathesis= tests/schemathesis.txt) from PyPI in $place"
    rm -rf "$place"
    mkdir -p "$(dirname "$place")"
    /usr/bin/python3 -m venv "$place"
    "$place/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement tests/schemathesis.txt
    cp tests/schemathesis.txt "$place/installed.txt"
fi

# Node packages, all at the versions of their lock files: openapi-typescript, openapi-fetch and the compiler; the libraries
# of host pages. Debian's npm brings Node.
for list in typescript host_pages; do
    place=target/tools/$list
    if ! cmp -s "tests/$list/package-lock.json" "$place/installed.json"; then
        command -v npm >/dev/null || packaging/install.sh npm
        echo "Installing the packages of tests/$list/package.json from the npm registry in $place"
        rm -rf "$place"
        mkdir -p "$place"
        cp "tests/$list/package.json" "tests/$list/package-lock.json" "$place"
        (cd "$place" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
        cp "tests/$list/package-lock.json" "$place/installed.json"
    fi
done
