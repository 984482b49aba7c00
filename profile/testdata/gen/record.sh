#!/bin/sh
# Records the profiles in ../ anew: `sh record.sh`, with Go 1.27 or newer and access to a module proxy.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -f ../*.pb.gz ../*.expected.txt
go build -trimpath -o "$work/shop" .
for shape in sites grpc idle unused refused sampled http raw sql mutex garbage; do "$work/shop" "$shape" ..; done
sed 's/grpc v[0-9.]*/grpc v1.60.0/' go.mod > "$work/go160.mod"
sed -i "/weir-agent/d" "$work/go160.mod"
GOFLAGS=-mod=mod go build -modfile="$work/go160.mod" -tags grpc160 -trimpath -o "$work/shop160" .
"$work/shop160" grpc160 ..
