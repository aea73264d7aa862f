#!/usr/bin/env bash
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
: "${WORKER_NODE_ID:?the agent sets WORKER_NODE_ID}"
exec python3 "$here/server.py" "${PORT:-8085}"
