#!/usr/bin/env bash
# make bench: Weir beside a Go Collector between the load generator and the sink of benches/, in interleaved rounds; the
# tables go into docs/benchmarks.md. What is measured: benches/src/scenario.rs.
#
#   make bench                  all scenarios, 5 rounds of 3 s for each agent (about a quarter of an hour)
#   make bench CHECK=1          fails when a bar does not hold
#   make bench ONLY=gzip,http   some scenarios; the document stays as it is
#   make bench OTHER=rotel      beside Rotel in place of the Collector, in the scenarios that it knows
#   make bench CURVES=1         Weir alone: connections, items per request, pipelines, guarantees of delivery; 5 rounds of 3 s
#                               for each point (about a quarter of an hour); fails where cost grows faster than its cause
#   make bench COUNT=1          instructions of the hot paths and of the whole agent, by callgrind: no noise
#
# ROUNDS and SECONDS_EACH change the rounds. BIN names a folder with binaries that are built already.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"
need_rust
if [ -z "${BIN:-}" ]; then
  cargo build --locked --release --quiet -p weir -p weir-bench
  BIN=${CARGO_TARGET_DIR:-$root/target}/release
fi

version="Weir $(git describe --always --dirty)"
machine="$(uname -sr), $(nproc) CPUs ($(date -u +%F))"
if [ -n "${CURVES:-}" ]; then
  exec "$BIN/weir-bench" curves --weir "$BIN/weir" --rounds "${ROUNDS:-5}" --seconds "${SECONDS_EACH:-3}" \
    --about "$version, $machine"
fi
if [ -n "${COUNT:-}" ]; then
  echo "$version"
  echo
  exec scripts/count-instructions.sh "$BIN"
fi

need_go
case ${OTHER:-otelcol} in
  otelcol | rotel) other=${OTHER:-otelcol} ;;
  *) die "OTHER is '$OTHER'; there are otelcol, rotel" ;;
esac
binary=$(tests/backends/install.sh "$other")/$other
options=(--weir "$BIN/weir" "--$other" "$binary" --rounds "${ROUNDS:-5}" --seconds "${SECONDS_EACH:-3}")
options+=(--about "$version, $("$binary" --version), $machine")
[ -z "${CHECK:-}" ] || options+=(--check)
if [ -n "${ONLY:-}" ]; then
  options+=(--only "$ONLY")
else
  options+=(--write docs/benchmarks.md)
fi
exec "$BIN/weir-bench" run "${options[@]}"
