#!/usr/bin/env bash
# Installs what the OpenTelemetry clients of the named languages need into a cache outside the tree and prints the folders,
# one line per name:
#
#   tests/clients/install.sh python node go java
#
# Versions are pinned in the folder of each language; a changed pin gives a new folder in the cache. Packages come through
# the languages' own clients. One installation runs at a time. Progress goes to stderr.
# Environment: WEIR_CACHE, the cache folder (default ~/.cache/weir).
set -eu
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${WEIR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/weir}/clients

say() { echo "clients: $*" >&2; }
need() { command -v "$1" >/dev/null || { say "$1 is missing: $2"; exit 1; }; }

install_python() {
  need python3 "apt-get install python3 python3-pip"
  python3 -m pip install --quiet --disable-pip-version-check --target "$1/packages" -r "$here/python/requirements.txt"
}

install_node() {
  need npm "apt-get install nodejs npm"
  cp "$here/node/package.json" "$here/node/package-lock.json" "$1/"
  (cd "$1" && npm ci --silent --no-audit --no-fund --ignore-scripts)
}

install_go() {
  local go
  go=$("$here/../backends/go.sh")
  (cd "$here/go" && CGO_ENABLED=0 GOWORK=off GOTOOLCHAIN=local nice -n 10 "$go" build -mod=readonly -o "$1/client" .)
}

install_java() {
  need mvn "apt-get install maven"
  need javac "apt-get install default-jdk-headless"
  mvn --quiet --batch-mode --file "$here/java/pom.xml" dependency:copy-dependencies "-DoutputDirectory=$1/jars"
  javac -cp "$1/jars/*" -d "$1/classes" "$here/java/Client.java"
}

# Installs $1 into the folder $2, unless somebody else just did.
install() {
  mkdir -p "$cache"
  exec 9>"$cache/.lock"
  flock 9
  [ ! -d "$2" ] || return 0
  say "installing the client of $1, once ..."
  local new
  new=$(mktemp -d "$cache/.new.XXXXXX")
  # shellcheck disable=SC2064
  trap "rm -rf '$new'" EXIT
  "install_$1" "$new" >"$cache/$1.log" 2>&1 9>&- || { cat "$cache/$1.log" >&2; say "$1 could not be installed (see above)"; exit 1; }
  mv "$new" "$2"
}

[ $# -gt 0 ] || { say "usage: install.sh NAME..., the names are: python node go java"; exit 2; }
for name in "$@"; do
  case $name in python | node | go | java) ;; *) say "there is no client '$name'"; exit 2 ;; esac
  folder=$cache/$name-$({ cat "$here/$name"/*; declare -f "install_$name"; } | sha256sum | cut -c 1-10)
  [ -d "$folder" ] || (install "$name" "$folder")
  echo "$folder"
done
