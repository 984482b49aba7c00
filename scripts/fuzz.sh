#!/usr/bin/env bash
# make fuzz: builds the targets of fuzz/ with AddressSanitizer and runs them, one after the other. Each begins with its kept
# inputs (fuzz/corpus) and those of earlier runs (fuzz/target/inputs); an input that breaks a check is written to
# fuzz/artifacts and ends the run with an error.
#
#   make fuzz                              all targets, a minute each
#   make fuzz TARGET=http2,yaml SECONDS=3600
#   make fuzz KEEP=1                       what earlier runs found becomes the kept inputs, as few as reach all of it
#   make fuzz TESTS=1                      the tests of the crates that cut received bytes into slices, and of that with the
#                                          unsafe code, with AddressSanitizer
#
# An input is run again by fuzz/target/x86_64-unknown-linux-gnu/release/TARGET FILE.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root/fuzz"
need_rust
# The versions that the agent is built with.
[ -e Cargo.lock ] || cp ../Cargo.lock .
command -v c++ >/dev/null || die "a C++ compiler is missing (for libFuzzer). Debian: apt-get install -y g++"

# Sanitizers are unstable options of the compiler; for these builds alone the release that is pinned takes them.
export RUSTC_BOOTSTRAP=1
host=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/fuzz/target}
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_odr_violation=0}

if [ -n "${TESTS:-}" ]; then
  crates=(weir-sys weir-pdata weir-otlp weir-disk-queue weir-kernel weir-profile)
  RUSTFLAGS=-Zsanitizer=address exec cargo test --locked --manifest-path "$root/Cargo.toml" --target "$host" "${crates[@]/#/-p}"
fi

IFS=, read -ra targets <<<"${TARGET:-$(cd fuzz_targets && ls *.rs | sed 's/\.rs$//' | paste -sd,)}"
flags=(-Zsanitizer=address -Cpasses=sancov-module -Ccodegen-units=1 --cfg=fuzzing)
for option in level=4 inline-8bit-counters pc-table trace-compares; do
  flags+=("-Cllvm-args=-sanitizer-coverage-$option")
done
RUSTFLAGS="${flags[*]}" cargo build --release --target "$host" "${targets[@]/#/--bin=}"

for target in "${targets[@]}"; do
  binary=$CARGO_TARGET_DIR/$host/release/$target
  kept=corpus/$target inputs=target/inputs/$target
  mkdir -p "$kept" "$inputs" "artifacts/$target"
  if [ -n "${KEEP:-}" ]; then
    fewer=$(mktemp -d)
    "$binary" -set_cover_merge=1 "$fewer" "$kept" "$inputs"
    rm -rf "$kept"
    mv "$fewer" "$kept"
    chmod 755 "$kept"
  else
    say "== $target"
    TIMEFORMAT="$target: %U s of user and %S s of system CPU time"
    time "$binary" -max_total_time="${TIME:-60}" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
      -artifact_prefix="artifacts/$target/" "$inputs" "$kept"
  fi
done
