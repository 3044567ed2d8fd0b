#!/usr/bin/env bash
# tests/deploy/containers/make_base.sh IMAGE: a stand-in for the base image IMAGE where no registry can be reached.
# Debian's own Python 3.11 under the same name, with this machine's certificates and package index.
set -euo pipefail
image="$1"
root="$(mktemp -d)"
trap 'rm -rf "$root"' EXIT

packages=ca-certificates,python3.11-minimal,libpython3.11-dev,python3-pip,python3.11-venv,netbase,tzdata
# As Debian's slim images do, without manuals and translations; of Python's library the headers alone.
mmdebstrap --quiet --variant=minbase --include="$packages" \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/lib/python3.11/config-3.11-*' \
  --dpkgopt='path-exclude=/usr/lib/*/libpython3.11*' bookworm "$root/base.tar"
mkdir "$root/base"
tar -xf "$root/base.tar" -C "$root/base" --exclude='./dev/*'
rm "$root/base.tar" "$root"/base/usr/lib/python3.11/EXTERNALLY-MANAGED
for name in python python3; do ln -sf /usr/bin/python3.11 "$root/base/usr/local/bin/$name"; done
ln -sf /usr/bin/pip3 "$root/base/usr/local/bin/pip"

certificates="$(python3 -m pip config get global.cert 2>/dev/null || echo "${SSL_CERT_FILE:-}")"
if [ -f "$certificates" ]; then
  install -m 644 "$certificates" "$root/base/etc/ssl/certs/ca-certificates.crt"
fi
printf "[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n" >"$root/base/etc/pip.conf"
for key in index-url trusted-host proxy timeout; do
  if value="$(python3 -m pip config get "global.$key" 2>/dev/null)"; then
    echo "$key = $value" >>"$root/base/etc/pip.conf"
  fi
done

tar -C "$root/base" -c . | docker import - "$image" >/dev/null
echo "made a stand-in for $image"
