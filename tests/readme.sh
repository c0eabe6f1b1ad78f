#!/usr/bin/env bash
# Runs the shell blocks of the README, which come on standard input, as if they were pasted into root's shell on a machine
# where nothing of Bitcall is: in a copy-on-write view of this machine's files, without a network.
#
#   unshare --mount --net --pid --fork --kill-child tests/readme.sh <repository> <bitcall> <scratch directory>
#
# Prints every command that failed, with its exit code, and at the end "the end".
#
# What is not the real thing there:
#   make        checks that the target exists; `make release` brings the binary under test
#   systemctl   starts and stops bitcall as the installed unit says, after `systemd-analyze verify` where there is one
#   curl        trusts the certificate of the test, and fails where the server refuses
#   the DNS     only phone.example.com has an address, so that certificates cannot be ordered nor domains be checked
set -euo pipefail
repository=$1 bitcall=$2 scratch=$3

mount -t tmpfs tmpfs "$scratch"
root=$scratch/root
mkdir "$scratch/upper" "$scratch/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" "$root"
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
rm -rf "$root"/etc/bitcall "$root"/etc/systemd/system/bitcall* "$root"/var/lib/bitcall "$root"/usr/bin/bitcall
ip link set lo up
rm -f "$root/etc/resolv.conf" && echo 'nameserver 127.0.0.1' >"$root/etc/resolv.conf"
echo '127.0.0.1 localhost phone.example.com' >"$root/etc/hosts"
touch "$root/run/bitcall-under-test"
mount --bind "$bitcall" "$root/run/bitcall-under-test"

clone=$root/tmp/bitcall
mkdir "$clone" "$root/tmp/stand-ins"
cp -r "$repository/Makefile" "$repository/systemd" "$repository/packaging" "$clone"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=example.com \
    -addext 'subjectAltName=DNS:*.example.com' -keyout "$clone/key.pem" -out "$clone/chain.pem" 2>/dev/null

cat >"$root/tmp/stand-ins/make" <<'MAKE'
#!/bin/sh -e
/usr/bin/make --dry-run "$@" >/dev/null
[ "$1" != release ] || install -D /run/bitcall-under-test target/release/bitcall
MAKE
cat >"$root/tmp/stand-ins/curl" <<'CURL'
#!/bin/sh
exec /usr/bin/curl --silent --show-error --fail-with-body --cacert /tmp/bitcall/chain.pem "$@"
CURL
cat >"$root/tmp/stand-ins/systemctl" <<'SYSTEMCTL'
#!/bin/bash -e
unit=/etc/systemd/system/bitcall.service
setting() { sed -n "s/^$1=//p" "$unit"; }
case $* in
daemon-reload | 'show bitcall.socket --property=ActiveState,Listen') exit ;;
'enable --now bitcall') ;;
*) echo "no stand-in for: systemctl $*" >&2; exit 1 ;;
esac
if command -v systemd-analyze >/dev/null; then
    systemd-analyze verify --man=no "$unit" "${unit%.service}.socket"
fi
user=$(setting User)
install -d -m "$(setting StateDirectoryMode)" -o "$user" "/var/lib/$(setting StateDirectory)"
install -d -m "$(setting RuntimeDirectoryMode)" -o "$user" "/run/$(setting RuntimeDirectory)"
install -d -m 700 -o "$user" /run/credentials
setting LoadCredential | while IFS=: read -r name file; do
    install -m 400 -o "$user" "$file" "/run/credentials/$name"
done
>/run/bitcall.log
# Of the environment only what the unit sets.
env -i CREDENTIALS_DIRECTORY=/run/credentials setpriv --reuid "$user" --regid "$user" --clear-groups \
    --inh-caps -all,+net_bind_service --ambient-caps +net_bind_service --bounding-set -all,+net_bind_service \
    --no-new-privs $(setting ExecStart) >/run/bitcall.log 2>&1 </dev/null &
until grep -q ' ready ' /run/bitcall.log; do
    kill -0 $! 2>/dev/null || { cat /run/bitcall.log >&2; exit 1; }
    sleep 0.05
done
SYSTEMCTL
chmod +x "$root"/tmp/stand-ins/*

{
    echo 'set -E -o pipefail; trap '\''echo "failed with $?: $BASH_COMMAND"'\'' ERR'
    cat
    echo 'echo "the end"'
} >"$root/tmp/pasted"
chroot "$root" env -i HOME=/root PATH=/tmp/stand-ins:/usr/sbin:/usr/bin:/sbin:/bin bash -c 'cd /tmp/bitcall && exec bash < /tmp/pasted'
