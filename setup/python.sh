#!/bin/sh
# Prints the path of a Python that can make our environment (3.11 or newer, with venv), or fails.
# The system's own comes first: the shims of version managers may point to a version that is gone.
set -eu

for candidate in /usr/bin/python3 python3.14 python3.13 python3.12 python3.11 python3; do
    path=$(command -v "$candidate" 2>/dev/null) || continue
    if "$path" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        echo "$path"
        exit 0
    fi
done
exit 1
