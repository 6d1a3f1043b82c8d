#!/bin/sh
# Installs what HECD needs on this machine (Debian 12 or later, Ubuntu; root) and then
#
#   ./install.sh demo [ARGS]   runs the main job: hecd demo
#   ./install.sh test [ARGS]   runs every test: tox
#   ./install.sh               only installs; .venv/bin/hecd is the command
set -eu

cd "$(dirname "$0")"
what=${1:-nothing}
[ $# -eq 0 ] || shift

PACKAGES="etcd-server haproxy crun conmon skopeo tini libnftables1 golang-github-containers-common busybox-static zstd keepalived socat iproute2"
TEST_PACKAGES="docker.io podman runc docker-registry buildah etcd-client iptables nginx libnginx-mod-stream openssl redis-server wireguard-tools wireguard-go rootlesskit slirp4netns uidmap"

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }

missing() { # of the given packages, those that are not installed
	for package in "$@"; do
		dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || printf '%s ' "$package"
	done
}

[ "$(id -u)" = 0 ] || fail "must run as root: containers, networks and cgroups are made"
command -v apt-get >/dev/null || fail "needs Debian 12 or later, or Ubuntu (apt-get is not here)"
command -v python3 >/dev/null || fail "needs python3: apt-get install python3"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "needs Python 3.11 or later; $(python3 -V) is here"

case $what in test) wanted="$PACKAGES $TEST_PACKAGES" ;; *) wanted=$PACKAGES ;; esac
python3 -c 'import ensurepip, venv' 2>/dev/null || wanted="$wanted python3-venv"
# shellcheck disable=SC2086
needed=$(missing $wanted)
if [ -n "$needed" ]; then
	say "installing system packages: $needed"
	apt-get update -qq
	# The services of these packages must not start by themselves: HECD runs its own etcd and HAProxy.
	policy=/usr/sbin/policy-rc.d
	if [ ! -e $policy ]; then
		printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT
	fi
	# shellcheck disable=SC2086
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $needed >/dev/null
fi

if [ ! -x .venv/bin/python ]; then
	say "making a virtual environment in .venv"
	python3 -m venv .venv
fi
stamp=.venv/.installed-$(cat pyproject.toml install.sh | cksum | cut -d' ' -f1)
if [ ! -e "$stamp" ]; then
	say "installing HECD and its Python packages"
	.venv/bin/python -m pip install -q --disable-pip-version-check --editable .
	: >"$stamp"
fi

case $what in
nothing) say "installed: $(pwd)/.venv/bin/hecd" ;;
demo) exec .venv/bin/hecd demo "$@" ;;
test)
	[ -x .venv/bin/tox ] || .venv/bin/python -m pip install -q --disable-pip-version-check 'tox>=4.22,<5'
	if command -v pyenv >/dev/null; then # its other Pythons run the unit tests, too
		for version in $(pyenv versions --bare | grep -E '^3\.1[1-9]\.'); do
			PATH=$PATH:$(pyenv prefix "$version")/bin
		done
	fi
	exec .venv/bin/tox "$@"
	;;
*) fail "unknown word '$what': demo, test, or nothing" ;;
esac
