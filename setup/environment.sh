#!/bin/sh
# Makes .venv and installs this project into it: `environment.sh run` or `environment.sh dev` (with the tools of
# tests, lint and bench).  A stamp in .venv keeps the digest of what was installed, so that nothing is asked of
# the network while pyproject.toml stays the same.  The folder is part of it: the installation points to the code here, so
# after a move, or with a .venv that two checkouts share, it would find another's code or none.
set -eu
cd "$(dirname "$0")/.."

level=${1:?usage: environment.sh run|dev}
wanted=$({ pwd -P; sha256sum pyproject.toml setup/environment.sh; } | sha256sum | cut -c1-64)

installed() {
    [ "$(cat ".venv/installed-$1" 2>/dev/null)" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null
}

if installed dev || installed "$level"; then
    exit 0
fi

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    if ! python=$(setup/python.sh); then
        echo "setup: no Python 3.11 or newer with its venv module was found; on Debian: apt-get install python3 python3-venv" >&2
        exit 1
    fi
    echo "setup: making .venv with $python"
    "$python" -m venv --clear .venv
fi

case $level in
    run) what=. ;;
    dev) what='.[dev]' ;;
    *) echo "setup: unknown level $level, expected run or dev" >&2; exit 2 ;;
esac
echo "setup: installing Python packages into .venv; this takes about a minute"
if ! .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable "$what"; then
    echo "setup: pip could not install the Python packages (its message is above); nothing else was changed" >&2
    exit 1
fi
rm -f .venv/installed-*  # what they stand for is replaced
echo "$wanted" > ".venv/installed-$level"
