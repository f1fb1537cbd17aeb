#!/bin/sh
# Programs and fonts that no Python package brings. Installs what is missing if it may, else says what to do.
# usage: system_packages.sh run|test|interop|bench
set -eu

present() {
    case $1 in
        fonts-noto-cjk) ls /usr/share/fonts/opentype/noto/NotoSansCJK* >/dev/null 2>&1 || fc-list :lang=zh 2>/dev/null | grep -q . ;;
        sip-tester) command -v sipp >/dev/null ;;
        baresip-core) command -v baresip >/dev/null ;;
        linphone-cli) command -v linphonec >/dev/null ;;
        rtpengine-daemon) command -v rtpengine >/dev/null ;;
        kamailio) command -v kamailio >/dev/null || [ -x /usr/sbin/kamailio ] ;;
        sox) command -v sox >/dev/null ;;
        chromium) command -v chromium >/dev/null ;;
        postgresql) command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 ;;
        poppler-utils) command -v pdftotext >/dev/null ;;
    esac
}

case ${1-} in
    run) wanted="fonts-noto-cjk" ;;
    test) wanted="sip-tester baresip-core sox chromium fonts-noto-cjk postgresql poppler-utils" ;;
    interop) wanted="sip-tester baresip-core sox chromium fonts-noto-cjk postgresql poppler-utils linphone-cli kamailio" ;;
    bench) wanted="sip-tester rtpengine-daemon" ;;
    *) echo "usage: system_packages.sh run|test|interop|bench" >&2; exit 2 ;;
esac

missing=""
for package in $wanted; do
    present "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing:$missing"
    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $missing && exit 0
    echo "apt-get could not install:$missing" >&2
    # The service runs without them (printing is poorer); the tests would not test what they say.
    [ "$1" = run ]
else
    echo "missing system packages:$missing" >&2
    echo "install them (Debian, Ubuntu: sudo apt install$missing); going on without" >&2
fi
