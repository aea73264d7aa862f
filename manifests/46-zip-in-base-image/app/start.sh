#!/bin/sh
set -eu
echo "$PLUM_APP_NAME $PLUM_APP_VERSION runs in $PWD of a container"
echo "libraries: ${LD_LIBRARY_PATH:-none}"
exec sleep 1000000
