#!/bin/sh
# Make a local slim Python image for the image's tests, where no registry can be reached: a minimal
# Debian with its own Python, and Python's headers, as published ones have. Made once, then kept by
# buildah under the name given here.
#
#   base.sh NAME

set -eu

name=$1
if buildah inspect --type image "$name" >/dev/null 2>&1; then
    exit
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
debootstrap --variant=minbase --include=ca-certificates,python3-venv \
    "${SUITE:-bookworm}" "$work/root" >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; exit 1; }
# Of the package, the headers alone: it depends on a C library to compile with.
# shellcheck disable=SC2016
chroot "$work/root" sh -c '
    cd /tmp && package=$(python3 -c "import sys; print(\"libpython%d.%d-dev\" % sys.version_info[:2])")
    apt-get download "$package" && dpkg-deb -x "$package"_*.deb headers
    cp -r headers/usr/include /usr/ && rm -r headers "$package"_*.deb' >"$work/log" 2>&1 ||
    { tail -n 20 "$work/log" >&2; exit 1; }
rm -rf "$work"/root/var/cache/apt/* "$work"/root/var/lib/apt/lists/* "$work"/root/var/log/* \
    "$work"/root/usr/share/doc "$work"/root/usr/share/man "$work"/root/usr/share/locale

# What this machine trusts, the containers have to trust; published images know nothing of it.
set --
if [ -n "${SSL_CERT_FILE:-}" ]; then
    cp -L "$SSL_CERT_FILE" "$work/root/etc/ssl/host-ca.crt"
    set -- --env SSL_CERT_FILE=/etc/ssl/host-ca.crt --env PIP_CERT=/etc/ssl/host-ca.crt
fi

container=$(buildah from scratch)
tar -C "$work/root" -cf "$work/root.tar" .
buildah add --quiet "$container" "$work/root.tar" / >/dev/null
buildah config --cmd python3 "$@" "$container"
buildah commit --quiet --rm "$container" "$name" >/dev/null
