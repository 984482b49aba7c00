#!/usr/bin/env bash
# make test: everything that must hold, from formatting to the agent in front of real backends.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"

step() { say; say "== $* ($(date +%H:%M:%S))"; }

need_rust
step "Go toolchain"
need_go
say "go: $("$GO" version)"

step "formatting"
cargo fmt --all --check
unformatted=$("$(dirname "$GO")/gofmt" -l go examples tests/scenarios tests/clients)
[ -z "$unformatted" ] || die "gofmt -w $unformatted"

step "test servers (built once, then cached)"
tests/backends/install.sh prometheus victoriametrics jaeger otelcol h2spec >/dev/null

step "lints"
cargo clippy --workspace --all-targets --locked -- -D warnings
scripts/deny.sh

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet

step "Go module and example programs"
(cd go && "$GO" vet ./... && CGO_ENABLED=1 "$GO" test -race ./...)
go/test-versions.sh
(cd examples/leaky && "$GO" vet ./... && "$GO" test ./...)
(cd tests/scenarios/programs && "$GO" vet ./... && "$GO" test ./...)

step "tests"
cargo test --workspace --locked
step "all passed"
