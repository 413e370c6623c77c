#!/bin/sh
# Sees to the programs the tests use that only a package manager has. Usage: system_parts.sh redis-server chromium ip
#
# What is missing is installed where that is allowed: as root on Debian and Ubuntu. Elsewhere the command is named and
# the run fails: a test that cannot run is a failure, never a skip.
# Lists of names are split on purpose throughout.
# shellcheck disable=SC2046,SC2086
set -eu

present() {
    case "$1" in
    chromium)
        # CHROMIUM names one that is somewhere else; the browser tests use the same variable.
        [ -n "${CHROMIUM:-}" ] && [ -x "$CHROMIUM" ] && return 0
        for name in chromium chromium-browser google-chrome google-chrome-stable; do
            command -v "$name" >/dev/null 2>&1 && return 0
        done
        for app in "Chromium" "Google Chrome"; do
            [ -x "/Applications/$app.app/Contents/MacOS/$app" ] && return 0
        done
        return 1
        ;;
    ip)
        # For network namespaces, which only Linux makes, and only root; elsewhere the tests do without.
        [ "$(uname)" = Linux ] && [ "$(id -u)" = 0 ] || return 0
        command -v ip >/dev/null 2>&1
        ;;
    *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

missing_of() {
    left=""
    for part in "$@"; do
        present "$part" || left="$left $part"
    done
    echo "$left"
}

# package <manager> <part>: what the part is called there.
package() {
    case "$1:$2" in
    brew:redis-server) echo redis ;;
    brew:chromium) echo "--cask chromium" ;;
    dnf:redis-server) echo redis ;;
    apt:ip) echo iproute2 ;;
    dnf:ip) echo iproute ;;
    *) echo "$2" ;;
    esac
}

packages() {
    manager="$1"
    shift
    for part in "$@"; do
        package "$manager" "$part"
    done | sort -u | tr '\n' ' '
}

missing=$(missing_of "$@")
[ -z "$missing" ] && exit 0

distribution=$(sed -n 's/^ID=//p' /etc/os-release 2>/dev/null | tr -d '"')
kin=$(sed -n 's/^ID_LIKE=//p' /etc/os-release 2>/dev/null | tr -d '"')

case " $distribution $kin " in
*" debian "*)
    if [ "$(id -u)" = 0 ]; then
        echo "Installing what the tests need:$missing"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq </dev/null || true
        # One at a time: a package that this release lacks does not keep the others out.
        for name in $(packages apt $missing); do
            apt-get install -y -qq --no-install-recommends "$name" </dev/null >/dev/null || true
        done
        missing=$(missing_of $missing)
        [ -z "$missing" ] && exit 0
    fi
    ;;
esac

{
    echo "The tests need programs that are not here:$missing"
    echo "  Debian, Ubuntu:  sudo apt-get update && sudo apt-get install $(packages apt $missing)"
    echo "  macOS:           brew install $(packages brew $missing)"
    echo "  Fedora:          sudo dnf install $(packages dnf $missing)"
    echo "On Ubuntu Chromium is a snap: sudo snap install chromium. CHROMIUM=/path names a browser elsewhere."
} >&2
exit 1
