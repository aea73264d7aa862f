#!/bin/sh
# Builds init.c for both architectures. Needs gcc and gcc-aarch64-linux-gnu (or the other way round).
set -eu
cd "$(dirname "$0")"
for arch in x86_64 aarch64; do
    compiler=gcc
    [ "$(uname -m)" = "$arch" ] || compiler=$arch-linux-gnu-gcc
    "$compiler" -Os -nostdlib -static -no-pie -fno-pie -ffreestanding -fno-builtin -fno-stack-protector \
        -fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns -Wall -Wextra -Werror \
        -Wl,--build-id=none -Wl,-z,noseparate-code -Wl,-z,norelro -s -o "init.$arch" init.c 2>&1 || exit 1
done
ls -l init.*
