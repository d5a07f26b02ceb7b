#!/bin/bash
# The lab in containers: `lab.sh up` builds it, brings it up and says what is where; `lab.sh down` takes all of it away.
#
# An engine that runs is used as it is.  Where none does, and setup/packages.sh installed it or LAB_ENGINE=own is given, one is started
# for the lab alone, with all its data below build/engine, and ended by `lab.sh down`.
# KEEP_IMAGE=1 leaves the images for the next time, also those of an engine of the lab's own, which is ended all the same.
# The build takes LAB_BASE (an image with your certificates, say), LAB_BUILD_NETWORK=host, DEBIAN_MIRROR, SECURITY_MIRROR, http_proxy,
# https_proxy, PIP_INDEX_URL and pip's other settings from the environment.  Where no registry gives the base image, one is made of what
# this machine's apt reads.
set -euo pipefail
cd "$(dirname "$0")/.."

engine=$PWD/build/engine
installed=$PWD/build/docker-installed  # there where setup/packages.sh installed Docker
sockets=/run/gslb-lab  # of that engine: their paths may not be long
pulled=$PWD/build/lab-pulled  # there while the base is one that was fetched for the lab
public=debian:bookworm-slim
made=gslb-lab-base
patience=180  # seconds until all are well

compose() {
    if docker compose version >/dev/null 2>&1; then
        docker compose -p gslb-lab -f compose/docker-compose.yaml "$@"
    else
        docker-compose -p gslb-lab -f compose/docker-compose.yaml "$@"
    fi
}

answers() {
    timeout 10 docker info >/dev/null 2>&1
}

# The rules and chains of the firewall, each with its table and without its counters.
rules() {
    iptables-save 2>/dev/null | awk '/^\*/ { table = substr($0, 2) } /^[-:]/ { sub(/ \[[0-9:]+\]$/, ""); print table, $0 }' || true
}

start_engine() {
    mkdir -p "$engine"
    echo 'lab: starting a Docker engine for the lab alone'
    [ -e "$engine/rules" ] || rules > "$engine/rules"  # once: what a second start finds may be of the first
    echo '{}' > "$engine/daemon.json"  # nothing of the machine's own engine
    setsid dockerd --config-file "$engine/daemon.json" --data-root "$engine/data" --exec-root "$sockets" --pidfile "$engine/pid" \
        --bridge none --ip6tables=false --ip-forward=false > "$engine/log" 2>&1 < /dev/null &
    local waited
    for waited in $(seq 60); do
        if answers; then return; fi
        [ "$waited" -lt 3 ] || kill -0 $! 2>/dev/null || break
        sleep 0.5
    done
    kill $! 2>/dev/null || true
    echo 'lab: the engine did not start:' >&2
    tail -n 3 "$engine/log" >&2
    exit 1
}

# Whether a process is the engine that was started here: its number may be another's by now.
is_ours() {
    [ -n "$1" ] && tr '\0' ' ' < "/proc/$1/cmdline" 2>/dev/null | grep -qF -- "--data-root $engine/data "
}

# An engine leaves its rules when it ends.  They go one by one: what was there before stays, and what others added.
clear_rules() {
    local table verb rest policy
    rules | grep -vxFf "$engine/rules" | grep -E 'DOCKER|gslb-' | grep -v '"' > "$engine/added" || true
    while read -r table verb rest; do
        # shellcheck disable=SC2086  # a rule is many words
        [ "$verb" != -A ] || iptables -w -t "$table" -D $rest || true
    done < "$engine/added"
    while read -r table verb rest; do
        [ "${verb#:}" = "$verb" ] || iptables -w -t "$table" -X "${verb#:}" || true
    done < "$engine/added"
    policy=$(sed -n 's/^filter :FORWARD //p' "$engine/rules")
    [ -z "$policy" ] || iptables -w -P FORWARD "$policy"
}

end_engine() {
    [ -d "$engine" ] || return 0
    local pid waited mounted
    pid=$(cat "$engine/pid" 2>/dev/null || true)
    if is_ours "$pid"; then
        kill "$pid" 2>/dev/null || true
        for waited in $(seq 300); do
            is_ours "$pid" || break
            [ "$waited" -lt 300 ] || { echo "lab: its engine (process $pid) does not end" >&2; exit 1; }
            sleep 0.2
        done
        rm -f /run/docker.sock  # which it leaves
        rmdir /run/docker/plugins /run/docker 2>/dev/null || true
    fi
    if [ -e "$engine/rules" ] && command -v iptables >/dev/null; then clear_rules; fi
    # What is mounted inside comes first.  Spaces are written as \040 there.
    awk '{ print $5 }' /proc/self/mountinfo | while read -r mounted; do printf '%b\n' "$mounted"; done | sort -r | while read -r mounted; do
        case $mounted in
            "$engine"/*|"$sockets"/*) umount "$mounted" || umount -l "$mounted" ;;
        esac
    done
    rm -rf --one-file-system "$sockets"
    if [ -n "${KEEP_IMAGE:-}" ]; then
        rm -f "$engine"/{log,pid,rules,added,daemon.json}
    else
        rm -rf --one-file-system "$engine"
        rm -f "$pulled"
    fi
}

# What apt here reads of a suite, such as bookworm-security: the address of its archive.
archive() {
    # shellcheck disable=SC2016  # apt-get reads that
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null \
        | awk -v suite="$1" '$2 == suite && $3 == "main" { print $1; exit }' || true
}

own_certificates() {
    find /usr/local/share/ca-certificates -name '*.crt' "$@" 2>/dev/null || true
}

# The base image: one that is here, one of a registry, or one made here, with this machine's own certificates.
ready_base() {
    [ -z "${LAB_BASE:-}" ] || return 0
    LAB_BASE=$public
    if docker image inspect "$public" >/dev/null 2>&1; then return; fi
    local why codename='' root from=''
    mkdir -p build
    if why=$(timeout 300 docker pull --quiet "$public" 2>&1); then
        touch "$pulled"
        return
    fi
    LAB_BASE=$made
    if grep -qx 'ID=debian' /etc/os-release; then
        codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
        from=$(archive "$codename")
    fi
    if ! docker image inspect "$made" >/dev/null 2>&1; then
        echo "lab: no registry gives $public (${why##*$'\n'}): making a base of Debian with debootstrap"
        if [ "$(id -u)" != 0 ] || [ -z "$from" ]; then
            echo 'lab: that needs root and a Debian machine; or give an image of Debian 12: make lab LAB_BASE=NAME' >&2
            exit 1
        fi
        setup/packages.sh base
        root=$(mktemp -d)
        # shellcheck disable=SC2064  # the value of now is meant
        trap "rm -rf --one-file-system '$root'" EXIT
        debootstrap --variant=minbase bookworm "$root" "$from" > build/debootstrap.log \
            || { tail -n 3 build/debootstrap.log >&2; exit 1; }
        install -d "$root/usr/local/share/ca-certificates"
        own_certificates -exec cp {} "$root/usr/local/share/ca-certificates/" \;
        rm -rf "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb build/debootstrap.log
        tar -C "$root" --one-file-system -c . | docker import --change 'LABEL gslb-lab=""' - "$made" >/dev/null
        rm -rf --one-file-system "$root"
    fi
    DEBIAN_MIRROR=${DEBIAN_MIRROR:-${from%/}}
    SECURITY_MIRROR=${SECURITY_MIRROR:-$(archive "$codename-security")}
    SECURITY_MIRROR=${SECURITY_MIRROR%/}
    if [ -n "$(own_certificates)" ]; then
        PIP_CERT=${PIP_CERT:-/etc/ssl/certs/ca-certificates.crt}
    fi
    export DEBIAN_MIRROR SECURITY_MIRROR PIP_CERT
}

build() {
    local name options=()
    export LAB_BASE
    case ${PIP_FIND_LINKS:-} in /*|file:*) unset PIP_FIND_LINKS ;; esac  # a folder of this machine, which the build does not see
    for name in LAB_BASE DEBIAN_MIRROR SECURITY_MIRROR http_proxy https_proxy no_proxy \
        PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS PIP_TRUSTED_HOST PIP_CERT; do
        [ -z "${!name:-}" ] || options+=(--build-arg "$name")
    done
    [ -z "${LAB_BUILD_NETWORK:-}" ] || options+=(--network "$LAB_BUILD_NETWORK")
    docker build --quiet --force-rm "${options[@]}" --tag gslb-lab --file compose/Dockerfile . >/dev/null
}

ready_engine() {
    if [ "$(id -u)" != 0 ] && ! answers; then no_engine; fi
    setup/packages.sh lab
    if ! answers; then
        [ "${LAB_ENGINE:-}" = own ] || [ -e "$installed" ] || [ -d "$engine" ] || no_engine
        start_engine
    fi
    local found
    found=$(docker info --format '{{.KernelVersion}} {{.SecurityOptions}}')
    case $found in *rootless*|*userns*)
        echo 'lab: this engine is rootless or maps users: its containers can load no BPF program.  Use one that does neither.' >&2
        exit 1 ;;
    esac
    if [ "$(printf '%s\n' 6.1 "${found%% *}" | sort -V | head -n 1)" != 6.1 ]; then
        echo "lab: expected Linux 6.1 or newer, and the engine's kernel is ${found%% *}" >&2
        exit 1
    fi
}

no_engine() {
    echo 'lab: no Docker engine answers.  Start yours (systemctl start docker) and see that you may use it (group docker),' >&2
    echo 'lab: or have one for the lab alone, as root: make lab LAB_ENGINE=own' >&2
    exit 1
}

up() {
    ready_engine
    if [ -s "$engine/pid" ]; then export LAB_BUILD_NETWORK=host; fi  # it has no bridge
    echo 'lab: building the image; the first time takes some minutes'
    ready_base
    build
    compose up -d
    local waited there sick
    for waited in $(seq "$patience"); do
        there=$(docker ps -a --filter label=com.docker.compose.project=gslb-lab --format '{{.Names}} {{.Status}}')
        sick=$(grep -v '(healthy)' <<< "$there" || true)
        [ -n "$sick" ] || break
        sleep 1
    done
    if [ -n "$sick" ]; then
        printf 'lab: not well after %s s; docker logs NAME says more:\n%s\n' "$patience" "$sick" >&2
        exit 1
    fi
    docker exec gslb-wiring python -m compose.guide
}

down() {
    command -v docker >/dev/null || return 0
    # Containers outlive an engine that was killed: another one ends them.
    if [ -d "$engine" ] && ! answers && pgrep -f -- "-address $sockets/" >/dev/null; then start_engine; fi
    if answers; then
        compose down --volumes --remove-orphans --timeout 5
        [ -n "${KEEP_IMAGE:-}" ] || remove_images
    elif ! [ -d "$engine" ]; then
        echo 'lab: no Docker engine answers: nothing was taken away' >&2
        exit 1
    fi
    end_engine
}

remove_images() {
    docker image rm gslb-lab >/dev/null 2>&1 || true
    docker image prune -f --filter label=gslb-lab >/dev/null
    docker image rm "$made" >/dev/null 2>&1 || true
    if [ -e "$pulled" ]; then
        docker image rm "$public" >/dev/null 2>&1 || true
        rm -f "$pulled"
    fi
}

case ${1:-} in
    up) up ;;
    down) down ;;
    *) echo 'usage: lab.sh up|down' >&2; exit 2 ;;
esac
