#!/usr/bin/env bash
# Builds the named test servers into a cache outside the tree and prints the folder of their binaries, one line per name:
#
#   tests/backends/install.sh prometheus victoriametrics jaeger otelcol
#
# There are three more: h2spec; prometheus-ui, Prometheus' pages for a browser (the only one that needs npm); and rotel, an
# agent to compare with, which comes built (the only one that needs pip).
#
# Present ones cost milliseconds. Versions are in ./versions; a changed recipe gives a new folder in the cache. Sources
# come through Go's module client and are checked against the pinned checksums. One build runs at a time, however many
# calls there are. Progress goes to stderr.
# Environment: WEIR_CACHE, the cache folder (default ~/.cache/weir).
set -eu
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=versions
. "$here/versions"
cache=${WEIR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/weir}/backends

say() { echo "backends: $*" >&2; }

build_prometheus() {
  go_source PROMETHEUS source
  # The tests need no service discovery, and the clouds' client libraries are much of the build.
  go_build -tags remove_all_sd ./cmd/prometheus ./cmd/promtool
}

build_victoriametrics() {
  go_source VICTORIAMETRICS source
  go_build ./app/victoria-metrics
}

build_jaeger() {
  go_source JAEGER_UI ui
  go_source JAEGER source
  # Jaeger embeds its pages compressed, which is how they come.
  local page target
  (cd "$work/ui/public" && find . -type f) | while read -r page; do
    target=cmd/query/app/ui/actual/$page.gz
    mkdir -p "${target%/*}"
    cp "$work/ui/public/$page" "$target"
  done
  go_build ./cmd/all-in-one
  mv "$work/bin/all-in-one" "$work/bin/jaeger-all-in-one"
}

build_otelcol() {
  go_source OTELCOL source
  go_build -o "$work/builder" .
  cd "$work"
  sed "s|^dist:|&\n  output_path: $work/main|" "$here/otelcol/builder.yaml" >builder.yaml
  ./builder --config builder.yaml --skip-get-modules --skip-compilation
  cp "$here/otelcol/go.mod" "$here/otelcol/go.sum" main/
  cd main
  go_build .
}

build_h2spec() {
  cp -r "$here/h2spec" "$work/main"
  cd "$work/main"
  go_build github.com/summerwind/h2spec/cmd/h2spec
}

build_rotel() {
  local hashes
  python3 -m pip --version >/dev/null || { echo "pip is missing, which gets Rotel: apt-get install python3-pip"; return 1; }
  # shellcheck disable=SC2086 # one argument per checksum
  hashes=$(printf ' --hash=sha256:%s' $ROTEL_WHEEL_SHA256)
  echo "rotel==$ROTEL_VERSION$hashes" >"$work/requirements.txt"
  # The program needs no Python; its wheels are of one release of it.
  PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install --quiet --no-compile --no-deps \
    --only-binary :all: --platform "manylinux_2_34_$(uname -m)" --python-version 3.11 --target "$work/wheel" \
    -r "$work/requirements.txt"
  install -m 755 "$work/wheel/rotel/rotel-agent" "$work/bin/rotel"
}

# Prometheus reads its pages from web/ui/static if it is started in a folder named prometheus: there is one in bin.
build_prometheus_ui() {
  command -v npm >/dev/null || { echo "npm is missing, which builds Prometheus' pages: apt-get install npm"; return 1; }
  go_source PROMETHEUS source
  cd web/ui
  npx --yes --package "pnpm@$PNPM_VERSION" nice -n 10 bash -euc '
    pnpm install --frozen-lockfile --store-dir "$1/store" --reporter append-only
    bash build_ui.sh --mantine-ui' pnpm "$work"
  mkdir -p "$work/bin/prometheus/web/ui"
  mv static "$work/bin/prometheus/web/ui/"
}

# Copies the source of a module, checked, into a folder beside the others and goes there. The name is that in ./versions.
# The module is the main one of its own build, so its own replacements and its own go.sum hold.
go_source() {
  local module=$1_MODULE version=$1_VERSION sum=$1_SUM json
  json=$(cd / && "$go" mod download -json "${!module}@${!version}") || { echo "$json" >&2; return 1; }
  if [ "$(json_field Sum)" != "${!sum}" ]; then
    say "checksum of ${!module}@${!version} is $(json_field Sum), expected ${!sum}"
    return 1
  fi
  cp -r "$(json_field Dir)" "$work/$2"
  chmod -R u+w "$work/$2"
  cd "$work/$2"
}

json_field() { sed -n "s/^\t\"$1\": \"\(.*\)\",\{0,1\}$/\1/p" <<<"$json"; }

go_build() { nice -n 10 "$go" build -mod=readonly -ldflags '-s -w' -o "$work/bin/" "$@"; }

# The folder of a server: its version and the checksum of all that decides what is built, so that a change to one server
# builds that one only. The shell prints its functions without their comments.
place() {
  local keys=${1%%-*} version recipe
  version=${keys^^}_VERSION
  [ "$1" != prometheus-ui ] || keys="$keys|pnpm"
  recipe=$({
    declare -f "build_${1//-/_}" go_source go_build
    grep -E "^(${keys^^})_" "$here/versions"
    [ ! -d "$here/$1" ] || cat "$here/$1"/*
  } | sha256sum)
  echo "$cache/$1-${!version}-${recipe:0:10}"
}

# Builds the server $1 into the folder $2, unless somebody else just did.
build() {
  local folder=$2 start=$SECONDS go
  name=$1
  mkdir -p "$cache"
  exec 9>"$cache/.lock"
  flock -n 9 || { say "waiting for another build of the test servers ..."; flock 9; }
  [ ! -d "$folder" ] || return 0
  rm -rf "$cache"/.new.* # what a killed build left
  go=$("$here/go.sh" 9>&-)
  say "building $name with $("$go" version), once; this takes minutes ..."
  work=$(mktemp -d "$cache/.new.XXXXXX")
  trap finish EXIT
  mkdir -p "$work/bin" "$work/done"
  (
    export CGO_ENABLED=0 GOWORK=off GOTOOLCHAIN=local GOFLAGS='-p=2 -trimpath -buildvcs=false' TMPDIR=$work
    "build_${name//-/_}"
  ) >"$work/log" 2>&1 9>&-
  mv "$work/bin" "$work/done/"
  mv "$work/done" "$folder"
  say "$name is in $folder/bin ($((SECONDS - start)) s)"
}

# Runs when a build ends, however it ends.
finish() {
  local code=$?
  [ $code = 0 ] || { grep -v '^go: downloading ' "$work/log" >&2; say "$name could not be built (see above)"; }
  chmod -R u+w "$work"
  rm -rf "$work"
  exit $code
}

names='prometheus victoriametrics jaeger otelcol h2spec prometheus-ui rotel'
[ $# -gt 0 ] || { say "usage: install.sh NAME..., the names are: $names"; exit 2; }
for name in "$@"; do
  [[ " $names " == *" $name "* ]] || { say "there is no server '$name'; the names are: $names"; exit 2; }
done
for name in "$@"; do
  folder=$(place "$name")
  [ -d "$folder" ] || (build "$name" "$folder")
  echo "$folder/bin"
done
