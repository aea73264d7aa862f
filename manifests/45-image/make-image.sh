#!/bin/sh
# Makes the image plum-example/hello:1 from a static busybox (Debian: busybox-static). No registry is needed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/bin" "$folder/tmp"
cp "$(command -v busybox)" "$folder/bin/busybox"
for name in cat echo env httpd id kill ls mkdir ps sh sleep; do ln -s busybox "$folder/bin/$name"; done
cat >"$folder/hello" <<'END'
#!/bin/sh
mkdir -p /tmp/www
echo "hello from $PLUM_INSTANCE_ID on $WORKER_NODE_ID" | tee /tmp/www/index.html
exec httpd -f -p "$PORT" -h /tmp/www
END
ln -s busybox "$folder/bin/tee"
chmod 755 "$folder/hello"
tar -C "$folder" -c . | docker import --change 'CMD ["/hello"]' - plum-example/hello:1
