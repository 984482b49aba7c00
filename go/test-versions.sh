#!/bin/sh
# Tests this module against the oldest grpc-go it supports and the newest one,
# on the installed Go and on the other of the two newest Go releases, with the
# race detector (which needs cgo and a C compiler).
#
#   ./test-versions.sh                 both grpc releases, both Go releases
#   GRPC_VERSIONS="v1.63.0" GO_VERSIONS="local" ./test-versions.sh
#
# The module is copied: its own go.mod stays as it is. Other Go releases are
# fetched by the go command itself (GOTOOLCHAIN).
set -eu

GRPC_VERSIONS=${GRPC_VERSIONS:-"v1.63.0 v1.85.0"}
GO_VERSIONS=${GO_VERSIONS:-"go1.26.8 go1.27.4"}
TEST_FLAGS=${TEST_FLAGS:-"-count=1"}

module=$(cd "$(dirname "$0")" && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT INT TERM

for grpc in $GRPC_VERSIONS; do
    rm -rf "$copy/go"
    mkdir "$copy/go"
    cp "$module"/*.go "$module"/go.mod "$module"/go.sum "$copy/go"
    cd "$copy/go"
    GOFLAGS=-mod=mod go get "google.golang.org/grpc@$grpc" >"$copy/log" 2>&1 || { cat "$copy/log"; exit 1; }
    GOFLAGS=-mod=mod go mod tidy >"$copy/log" 2>&1 || { cat "$copy/log"; exit 1; }
    for release in $GO_VERSIONS; do
        echo "== $(GOTOOLCHAIN=$release go version | cut -d' ' -f3), $(go list -m google.golang.org/grpc)"
        # shellcheck disable=SC2086 # the flags are words
        CGO_ENABLED=1 GOTOOLCHAIN=$release go test -race $TEST_FLAGS ./...
    done
done
