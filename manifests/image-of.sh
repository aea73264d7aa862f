#!/bin/sh
# Makes an image out of programs of this machine: them, their shared libraries, and a static busybox as the shell. No registry.
#
#   manifests/image-of.sh plum-example/redis:1 --user redis redis-server redis-cli
#
# What follows the name: programs of the PATH, files and folders by absolute path, and
#   --user NAME        also its line of /etc/passwd, so that a template may say `user: NAME`
#   --without TEXT     leaves out files, and libraries of files, whose path contains the text
#   --change 'CMD ..'  as for `docker import`
set -eu
export LC_ALL=C
test $# -gt 1 || { sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2; }
image=$1
shift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
root=$folder/root
mkdir -p "$root/bin" "$root/etc" "$root/tmp" "$root/proc" "$root/sys" "$root/dev"
chmod 1777 "$root/tmp"
grep '^root:' /etc/passwd >"$root/etc/passwd"
grep '^root:' /etc/group >"$root/etc/group"
: >"$folder/files"
: >"$folder/changes"
: >"$folder/without"

while [ $# -gt 0 ]; do
  case $1 in
    --user)
      getent passwd "$2" >>"$root/etc/passwd" || { echo "there is no user $2 on this machine" >&2; exit 1; }
      getent group "$(id -g "$2")" >>"$root/etc/group"
      shift ;;
    --without) printf '%s\n' "$2" >>"$folder/without"; shift ;;
    --change) printf '%s\n' "$2" >>"$folder/changes"; shift ;;
    /*) find -L "$1" -type f >>"$folder/files" ;;
    *) command -v "$1" >>"$folder/files" || { echo "$1 is not installed on this machine" >&2; exit 1; } ;;
  esac
  shift
done

grep -vFf "$folder/without" "$folder/files" >"$folder/kept"

# Libraries by what the loader says of each program and each module. Links are followed: the image has files only.
while read -r file; do
  case $file in *.so | *.so.*) echo "$file" ;; *) test ! -x "$file" || echo "$file" ;; esac
done <"$folder/kept" | { xargs -r -d '\n' ldd 2>/dev/null || true; } |
  sed -n 's/.*=> \(\/[^ ]*\) (.*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p' | sort -u >"$folder/libraries"
sort -u "$folder/kept" "$folder/libraries" | sed 's|^/||' | tar -C / -ch --files-from=- | tar -C "$root" -x

cp "$(command -v busybox)" "$root/bin/busybox"
for name in $("$root/bin/busybox" --list); do
  test -e "$root/bin/$name" || test -e "$root/usr/bin/$name" || ln -s busybox "$root/bin/$name"
done

set --
while read -r change; do set -- "$@" --change "$change"; done <"$folder/changes"
tar -C "$root" --numeric-owner -c . | docker import --change 'ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin' "$@" - "$image"
