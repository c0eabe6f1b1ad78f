#!/usr/bin/env bash
# Installs what the behaviour tests need and this machine lacks: a browser with its driver, a SIP server with
# WebSockets and TLS, a media proxy, far ends, and nginx for the benchmarks.
set -euo pipefail
cd "$(dirname "$0")/.."

packaging/install.sh \
    chromium chromium-driver \
    kamailio kamailio-websocket-modules kamailio-tls-modules rtpengine-daemon \
    sip-tester baresip-core \
    nginx-light \
    util-linux
