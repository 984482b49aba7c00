#!/usr/bin/env bash
# make faults: what Weir and a Go Collector make of signals, dead backends, hostile clients and too little memory; writes the
# table in docs/reliability.md.
#
#   make faults                          all cases
#   make faults CASE=21,22               those, and writes their rows
#   make faults CASE=43 ROUNDS=1200      so many rounds of the soak, a second each; from 20 minutes on by the bar of long runs
#
# Needs strace and libfaketime, and root for the cases with a memory limit or a disk of their own.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"
need_rust
need_go
tests/backends/install.sh otelcol >/dev/null
# The page itself is written by each run.
WEIR_BUILD=$(git describe --always)
git diff --quiet HEAD -- . ':!docs/reliability.md' || WEIR_BUILD+=-dirty
export WEIR_BUILD
cargo build --locked --release -p weir
WEIR_BINARY="$root/target/release/weir" cargo test --locked -p weir --test faults -- --ignored --nocapture
