#!/usr/bin/env bash
# Writes the Python code of the .proto files to plum_proto/generated.  --check: write nothing, fail if a file differs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

python=../.venv/bin/python
target=plum_proto/generated
fresh="$(mktemp -d)"
trap 'rm -rf "$fresh"' EXIT

mapfile -t sources < <(find plum -name '*.proto' | sort)
"$python" -m grpc_tools.protoc --proto_path=. --python_out="$fresh" --pyi_out="$fresh" --grpc_python_out="$fresh" "${sources[@]}"

# protoc names modules after the proto path; ours live inside a package.
find "$fresh" -name '*.py' -exec sed -i -E 's/^from plum(\.|\s)/from plum_proto.generated.plum\1/' {} +
find "$fresh" -name '*.pyi' -exec sed -i '1i # Generated from the .proto files by `make proto`. Do not edit.' {} +
while read -r folder; do
  printf '"""Generated from the .proto files by `make proto`. Do not edit."""\n' >"$folder/__init__.py"
done < <(find "$fresh" -type d)

if [[ "${1:-}" == "--check" ]]; then
  if ! diff -r -q -x __pycache__ "$fresh" "$target"; then
    echo "$target is not what the .proto files say; run \`make proto\`" >&2
    exit 1
  fi
  exit 0
fi

rm -rf "$target"
mkdir -p "$target"
cp -r "$fresh"/. "$target"
