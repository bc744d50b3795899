#!/bin/sh
# The Debian packages that scenario tests and the benchmark use as peers. As root they are installed if missing; without
# root they are named, and the tests that need them are skipped with that reason (with CI=true a missing one is an error).
set -eu

missing=""
need() { # package, a file it brings
    [ -e "$2" ] || missing="$missing $1"
}
need postfix /usr/sbin/postfix
need opendkim /usr/sbin/opendkim
need opendkim-tools /usr/bin/opendkim-testmsg
need haproxy /usr/sbin/haproxy
need redis-server /usr/bin/redis-server
need swaks /usr/bin/swaks
need libnet-ssleay-perl /usr/share/doc/libnet-ssleay-perl
need msmtp /usr/bin/msmtp
need nodejs /usr/bin/node
need node-nodemailer /usr/share/nodejs/nodemailer/package.json
need chromium /usr/bin/chromium
need fonts-dejavu-core /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf

[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing the peers that tests talk to:$missing"
    mkdir -p .cache
    export DEBIAN_FRONTEND=noninteractive
    # A package's server must not be started by its installation: tests start private ones.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    { apt-get update && apt-get install -y --no-install-recommends $missing; } >.cache/packages.log 2>&1 || {
        tail -n 20 .cache/packages.log
        exit 1
    }
else
    echo "Not installed here, so the tests that need them are left out:$missing"
    [ "${CI:-}" != true ] || { echo "CI=true: a missing component is a failure."; exit 1; }
fi
