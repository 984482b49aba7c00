#!/usr/bin/env bash
# make run: a real Go service that leaks a gRPC connection per call, watched by Weir.
#   ONCE=1      end after the first verdict; exit code 0 when one came within 90 s
#   FIXED=1     run the mended program; with ONCE=1 watch it for 60 s, exit code 0 when it was never called leaking
#   BACKENDS=1  start real Prometheus, VictoriaMetrics and Jaeger too
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"
once=${ONCE:-} fixed=${FIXED:-} backends=${BACKENDS:-}

need_rust
need_go
say "building weir (the first time takes some minutes)"
cargo build --locked --quiet
weir=${CARGO_TARGET_DIR:-$root/target}/debug/weir
out=${CARGO_TARGET_DIR:-$root/target}/leaky
mkdir -p "$out"
say "building examples/leaky"
(cd examples/leaky && "$GO" build -o "$out/leaky-client" ./client && "$GO" build -o "$out/leaky-server" ./server)
servers=
if [ -n "$backends" ]; then
  say "installing Prometheus, VictoriaMetrics and Jaeger (the first time takes a quarter of an hour)"
  servers=$(tests/backends/install.sh prometheus victoriametrics jaeger)
  # Prometheus reads its pages from the folder it is started in; without npm, which builds them, there is its API only.
  prometheus_ui=
  if command -v npm >/dev/null && ui=$(tests/backends/install.sh prometheus-ui); then prometheus_ui=$ui/prometheus; fi
fi

work=$(mktemp -d)
pids=()
cleanup() {
  trap - EXIT INT TERM
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
trap 'say; say "ended: weir, the client and the server are stopped"; exit 130' INT
trap 'exit 143' TERM

# The first free port from $1 on.
taken=" "
free_port() {
  local port=$1
  while [[ $taken == *" $port "* ]] || (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
  taken="$taken$port "
  echo "$port"
}
port() { printf -v "$1" '%s' "$(free_port "$2")"; taken="$taken${!1} "; }
port server 50051
port pprof 6060
port events 4327
port pages 55679
port grpc 4317
port http 4318
port health 13133
port own 8888

start() {
  local log=$1
  shift
  "$@" >"$work/$log.log" 2>&1 &
  pids+=($!)
}
alive() { kill -0 "$1" 2>/dev/null || { say "error: $2 ended:"; tail -n 20 "$work/$2.log" >&2; exit 1; }; }
wait_port() {
  for _ in $(seq 100); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return; fi
    alive "$3" "$2"
    sleep 0.1
  done
  die "$2 did not open port $1: $(tail -n 3 "$work/$2.log")"
}

config=(--config examples/leaky/weir.yaml)
if [ -n "$backends" ]; then
  { read -r B_PROM; read -r B_VM; read -r B_JAEGER; } <<<"$servers"
  port prom 9090
  port vm 8428
  port jaeger 4319
  port jaeger_http 4320
  port jaeger_ui 16686
  port jaeger_admin 14269
  cp deploy/prometheus/weir-alerts.yaml "$work/"
  sed "s/127.0.0.1:8888/127.0.0.1:$own/" deploy/prometheus/prometheus.yml >"$work/prometheus.yml"
  start prometheus env -C "${prometheus_ui:-$work}" "$B_PROM/prometheus" --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/prometheus" \
    --web.listen-address="127.0.0.1:$prom" --web.enable-otlp-receiver --log.level=warn
  start victoriametrics "$B_VM/victoria-metrics" -storageDataPath="$work/vm" -httpListenAddr="127.0.0.1:$vm" \
    -search.latencyOffset=0 -opentelemetry.usePrometheusNaming -loggerLevel=WARN
  OTEL_TRACES_SAMPLER=always_off start jaeger "$B_JAEGER/jaeger-all-in-one" --log-level=warn \
    --collector.otlp.grpc.host-port="127.0.0.1:$jaeger" --collector.otlp.http.host-port="127.0.0.1:$jaeger_http" \
    --query.http-server.host-port="127.0.0.1:$jaeger_ui" --admin.http.host-port="127.0.0.1:$jaeger_admin" \
    --query.grpc-server.host-port=127.0.0.1:0 --collector.grpc-server.host-port=127.0.0.1:0 \
    --collector.http-server.host-port=127.0.0.1:0
  config=(--config examples/leaky/backends.yaml
    --set "exporters.otlp_http/prometheus.metrics_endpoint=http://127.0.0.1:$prom/api/v1/otlp/v1/metrics"
    --set "exporters.otlp_http/victoriametrics.metrics_endpoint=http://127.0.0.1:$vm/opentelemetry/v1/metrics"
    --set "exporters.otlp_grpc/jaeger.endpoint=127.0.0.1:$jaeger")
fi

start weir "$weir" "${config[@]}" \
  --set "receivers.grpc_connections.endpoint=127.0.0.1:$events" \
  --set "processors.leak_detection.source_roots=[\"$root\"]" \
  --set "receivers.otlp.protocols.grpc.endpoint=127.0.0.1:$grpc" \
  --set "receivers.otlp.protocols.http.endpoint=127.0.0.1:$http" \
  --set "receivers.pprof.targets=[{endpoint: \"http://127.0.0.1:$pprof\", service_name: checkout}]" \
  --set "extensions.health_check.endpoint=127.0.0.1:$health" \
  --set "extensions.zpages.endpoint=127.0.0.1:$pages" \
  --set "service.telemetry.metrics.readers=[{pull: {exporter: {prometheus: {host: 127.0.0.1, port: $own}}}}]"
weir_pid=${pids[-1]}
wait_port "$pages" weir "$weir_pid"
export WEIR_ENDPOINT=http://127.0.0.1:$events
start server "$out/leaky-server" -listen "127.0.0.1:$server"
wait_port "$server" server "${pids[-1]}"
start client "$out/leaky-client" -target "127.0.0.1:$server" -pprof "127.0.0.1:$pprof" ${fixed:+-fixed}
client_pid=${pids[-1]}

page=http://127.0.0.1:$pages
say
say "checkout (pid $client_pid) calls orders at 127.0.0.1:$server twice a second; page: $page/leaks"
if [ -n "$backends" ]; then
  panels='g0.expr=leak_state&g0.tab=0&g0.range_input=15m&g1.expr=leak_open_connections&g1.tab=0&g1.range_input=15m'
  if [ -n "$prometheus_ui" ]; then say "Prometheus       http://127.0.0.1:$prom/query?$panels"
  else say "Prometheus       http://127.0.0.1:$prom/api/v1/query?query=leak_state (install npm for its pages)"; fi
  say "VictoriaMetrics  http://127.0.0.1:$vm/vmui/?#/?$panels"
  say "Jaeger           http://127.0.0.1:$jaeger_ui/search?service=checkout"
fi
if [ -z "$fixed" ]; then say "mend it while it runs: kill -USR1 $client_pid"; fi
say

begun=$SECONDS shown='' verdict=''
limit=90
if [ -n "$fixed" ]; then limit=60; fi
while :; do
  code=0
  line=$("$weir" leaks --compact --endpoint "$page" 2>"$work/leaks.log") || code=$?
  alive "$weir_pid" weir
  alive "$client_pid" client
  passed=$((SECONDS - begun))
  state=${line%%[[:space:]]*}
  if [ -t 2 ]; then printf '\r\033[K%3d s  %s' "$passed" "$(head -n 1 <<<"$line")" >&2
  elif [ $((passed % 5)) -eq 0 ] && [ "$passed" != "${told:-}" ]; then told=$passed; say "$passed s  $(head -n 1 <<<"$line")"; fi
  if [ "$code" -eq 1 ] && [ -z "$verdict" ]; then
    verdict=$passed
    [ ! -t 2 ] || say
    say "verdict after $passed s:"
    "$weir" leaks --endpoint "$page" || true
    shown=$state
    if [ -n "$fixed" ] && [ -n "$once" ]; then die "the mended program was called leaking"; fi
    if [ -n "$once" ]; then exit 0; fi
    say "watching on; Ctrl-C ends"
  elif [ -n "$verdict" ] && [ -n "$state" ] && [ "$state" != "$shown" ]; then
    [ ! -t 2 ] || say
    "$weir" leaks --endpoint "$page" || true
    shown=$state
  fi
  if [ -n "$once" ] && [ "$passed" -ge "$limit" ]; then
    [ ! -t 2 ] || say
    "$weir" leaks --endpoint "$page" || true
    if [ -z "$fixed" ]; then die "no verdict within $limit s"; fi
    [[ $line == *OK* ]] || die "nothing was measured within $limit s"
    exit 0
  fi
  sleep 1
done
