#!/usr/bin/env bash
# make bench: spans per CPU second of the agent alone, Weir beside a Go Collector, interleaved rounds at saturation:
# OTLP/gRPC in, batch, OTLP/gRPC out, no compression. Rounds and seconds: ROUNDS (3), SECONDS_EACH (8).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"
need_rust
need_go
cargo build --locked --release --quiet -p weir -p weir-bench
bin=${CARGO_TARGET_DIR:-$root/target}/release
otelcol=$(tests/backends/install.sh otelcol)/otelcol
work=$(mktemp -d)
pids=()
cleanup() { for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done; wait 2>/dev/null || true; rm -rf "$work"; }
trap cleanup EXIT
free_port() { local p=$1; while (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null; do p=$((p + 1)); done; echo "$p"; }
in=$(free_port 14317)
out=$(free_port $((in + 1)))
cat >"$work/agent.yaml" <<YAML
receivers: {otlp: {protocols: {grpc: {endpoint: "127.0.0.1:$in"}}}}
processors: {batch: }
exporters: {otlp_grpc: {endpoint: "127.0.0.1:$out", compression: none, tls: {insecure: true}}}
service:
  telemetry: {metrics: {level: none}, logs: {level: error}}
  pipelines: {traces: {receivers: [otlp], processors: [batch], exporters: [otlp_grpc]}}
YAML
ticks=$(getconf CLK_TCK)
cpu() { awk '{sub(/.*\) /, ""); print $12 + $13}' "/proc/$1/stat"; }
rss() { awk '/VmHWM/ {print $2}' "/proc/$1/status"; }
wait_port() { for _ in $(seq 200); do (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return; sleep 0.05; done; die "port $1 did not open"; }

# one AGENT SPANS: prints items per CPU second, peak RSS in KiB, lost items.
one() {
  local name=$1 spans=$2 agent
  "$bin/weir-bench" sink "127.0.0.1:$out" >"$work/sink.out" &
  local sink=$!
  pids+=("$sink")
  wait_port "$out"
  if [ "$name" = weir ]; then agent=$bin/weir; else agent=$otelcol; fi
  "$agent" --config "$work/agent.yaml" >"$work/$name.log" 2>&1 &
  local pid=$!
  pids+=("$pid")
  wait_port "$in"
  local before after sent
  before=$(cpu "$pid")
  sent=$("$bin/weir-bench" load "127.0.0.1:$in" --seconds "${SECONDS_EACH:-8}" --spans "$spans")
  sleep 1
  after=$(cpu "$pid")
  local peak
  peak=$(rss "$pid")
  kill "$pid"; wait "$pid" 2>/dev/null || true
  kill -INT "$sink"; wait "$sink" 2>/dev/null || true
  local got
  got=$(tail -n 1 "$work/sink.out")
  echo "$name $spans $((got * ticks / (after - before))) $peak $((sent - got))"
}

printf '%-8s %6s %16s %12s %8s\n' agent spans/req spans/CPU-second 'peak RSS KiB' lost
for _ in $(seq "${ROUNDS:-3}"); do
  for spans in 100 10 1; do
    one weir "$spans"
    one otelcol "$spans"
  done
done | tee "$work/rows" | awk '{printf "%-8s %6s %16s %12s %8s\n", $1, $2, $3, $4, $5}'
say
for spans in 100 10 1; do
  median() { awk -v a="$1" -v s="$spans" '$1 == a && $2 == s {print $3}' "$work/rows" | sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
  w=$(median weir) o=$(median otelcol)
  awk -v s="$spans" -v w="$w" -v o="$o" 'BEGIN {printf "%s spans per request: median %d against %d spans per CPU second: %.1fx\n", s, w, o, w / o}'
done
