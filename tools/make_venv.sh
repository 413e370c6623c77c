#!/bin/sh
# Makes .venv with a Python of 3.11 or newer. Usage: make_venv.sh [python]
set -eu

fits() {
    # A version manager's shim may exist for a Python that is not installed, so the answer counts, not the file.
    command -v "$1" >/dev/null 2>&1 && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

python=""
if [ -n "${1:-}" ]; then
    if ! fits "$1"; then
        echo "PYTHON=$1 is no Python of 3.11 or newer; Broadwing needs one." >&2
        exit 1
    fi
    python="$1"
else
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if fits "$candidate"; then
            python="$candidate"
            break
        fi
    done
fi

if [ -z "$python" ]; then
    cat >&2 <<END
Broadwing needs Python 3.11 or newer; found $(python3 --version 2>/dev/null || echo none).
  Debian 12, Ubuntu 24.04:  sudo apt-get install python3 python3-venv
  Ubuntu 22.04:             sudo apt-get install python3.11 python3.11-venv
  Fedora:                   sudo dnf install python3
  macOS:                    brew install python
Or name one: make PYTHON=/path/to/python3.12 ...
END
    exit 1
fi

echo "Making .venv with $("$python" --version)"
finished=no
# What is left behind must not look finished to make: it goes by .venv/bin/python.
trap '[ $finished = yes ] || rm -rf .venv' EXIT
trap 'exit 130' INT TERM

pip_wheel_of_debian() {
    # A download of the package as a file; installs nothing and needs no rights.
    mkdir .venv/deb
    (cd .venv/deb && apt-get download -qq python3-pip-whl && dpkg-deb -x ./*.deb .) >/dev/null 2>&1 || return 1
    wheel=$(ls .venv/deb/usr/share/python-wheels/pip-*.whl)
    .venv/bin/python "$wheel/pip" --quiet install --no-index "$wheel" || return 1
    rm -rf .venv/deb
}

if "$python" -c 'import ensurepip' 2>/dev/null; then
    "$python" -m venv .venv
else
    # Debian and Ubuntu keep ensurepip in python3-venv, which a fresh machine lacks; a .venv can do without it.
    "$python" -m venv --without-pip .venv
    if ! "$python" -m pip --disable-pip-version-check --quiet --python .venv/bin/python install pip 2>/dev/null &&
        ! pip_wheel_of_debian; then
        echo "This Python cannot fill a virtual environment: its ensurepip is missing." >&2
        echo "  Debian, Ubuntu:  sudo apt-get install python3-venv" >&2
        exit 1
    fi
fi
finished=yes
