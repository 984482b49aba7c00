#!/usr/bin/env bash
# Instructions in user space by valgrind: of the hot paths, and of the whole agent per request. Each number is the
# difference of two runs of different lengths, so that the start does not count. Argument: the folder of the binaries.
set -euo pipefail
# What fails within $( ) fails here, too.
shopt -s inherit_errexit
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
bin=$1
command -v valgrind >/dev/null || die "valgrind is missing. Debian: apt-get install -y valgrind"
work=$(mktemp -d)
pids=()
cleanup() { for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done; wait 2>/dev/null || true; rm -rf "$work"; }
trap cleanup EXIT

# count COMMAND...: instructions of a command.
count() {
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$@" 2>&1 >/dev/null | awk '/Collected/ {print $4}'
}

echo '| hot path | instructions |'
echo '|---|---|'
for path in validate-traces validate-logs validate-metrics validate-1 merge edit gzip gunzip zstd unzstd; do
  short=$(count "$bin/weir-bench" hot "$path" 10)
  long=$(count "$bin/weir-bench" hot "$path" 60)
  echo "| $path | $(((long - short) / 50)) |"
done

free_port() { local p=$1; while (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null; do p=$((p + 1)); done; echo "$p"; }
wait_port() { for _ in $(seq 600); do (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return; sleep 0.1; done; die "port $1 did not open"; }

# agent ITEMS COMPRESSION ENCODING REQUESTS: puts into `instructions` those of an agent that takes that many requests on one
# connection. Not within $( ), where nobody would end what it starts.
agent() {
  local in out
  in=$(free_port 24317)
  out=$(free_port $((in + 1)))
  cat >"$work/agent.yaml" <<YAML
receivers: {otlp: {protocols: {grpc: {endpoint: "127.0.0.1:$in"}}}}
processors: {batch: }
exporters: {otlp_grpc: {endpoint: "127.0.0.1:$out", compression: $2, tls: {insecure: true}}}
service:
  telemetry: {metrics: {level: none}, logs: {level: error}}
  pipelines: {traces: {receivers: [otlp], processors: [batch], exporters: [otlp_grpc]}}
YAML
  "$bin/weir-bench" sink "127.0.0.1:$out" >"$work/sink" &
  local sink=$!
  pids+=("$sink")
  wait_port "$out"
  valgrind --tool=callgrind --callgrind-out-file="$work/out" "$bin/weir" --config "$work/agent.yaml" >"$work/log" 2>&1 &
  local pid=$!
  pids+=("$pid")
  wait_port "$in"
  local taken
  taken=$("$bin/weir-bench" load "$in" --seconds 600 --connections 1 --items "$1" --encoding "$3" --requests "$4")
  [ "$taken" = $(($1 * $4)) ] || die "the agent took $taken of $(($1 * $4)) items"
  kill "$pid"
  wait "$pid" || true
  kill -INT "$sink"
  wait "$sink" || true
  [ "$(cat "$work/sink")" = "$taken" ] || die "of $taken items $(cat "$work/sink") arrived"
  instructions=$(awk '/Collected/ {print $4}' "$work/log")
}

echo
echo '| whole agent, per request | instructions |'
echo '|---|---|'
for case in '100 none identity' '10 none identity' '1 none identity' '100 gzip gzip' '100 zstd identity'; do
  # shellcheck disable=SC2086
  set -- $case
  agent "$1" "$2" "$3" 50
  short=$instructions
  agent "$1" "$2" "$3" 350
  echo "| $1 spans, in $3, out $2 | $(((instructions - short) / 300)) |"
done
