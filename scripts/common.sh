# Sourced by the other scripts: where things are, and what has to be there.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${WEIR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/weir}
if [ -d "$HOME/.cargo/bin" ]; then PATH="$PATH:$HOME/.cargo/bin"; fi

say() { echo "$*" >&2; }
die() { say "error: $*"; exit 1; }

# Rust by rustup: the toolchain file names the release, rustup fetches it.
need_rust() {
  if ! command -v cargo >/dev/null; then
    die "cargo is missing. Install Rust by rustup (https://rustup.rs):
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y && . \"\$HOME/.cargo/env\""
  fi
  if ! command -v cc >/dev/null; then
    die "a C compiler is missing (for zstd and libdeflate). Debian: apt-get install -y gcc libc6-dev"
  fi
}

# Go: the system's when it is new enough, else one in the cache.
need_go() {
  GO=$("$root/tests/backends/go.sh") || die "no usable Go, see above"
  export GO
  PATH="$(dirname "$GO"):$PATH"
}
