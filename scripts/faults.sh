#!/usr/bin/env bash
# make faults: what Weir and a Go Collector make of signals, dead backends, hostile clients and too little memory; writes the
# table in docs/reliability.md. CASE=21,22 runs those and writes their rows. Needs strace and
# libfaketime, and root for the cases with a memory limit or a disk of their own.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"
need_rust
need_go
tests/backends/install.sh otelcol >/dev/null
cargo build --locked --release -p weir
WEIR_BINARY="$root/target/release/weir" cargo test --locked -p weir --test faults -- --ignored --nocapture
