#!/bin/bash
# scripts/install-packages.sh names what it cannot install. Its tools are replaced by doubles: nothing is installed.
# Usage: install-packages.sh SOURCE-ROOT
set -euo pipefail
script=$1/scripts/install-packages.sh
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT

number=0
# expect EXIT-STATUS PATTERN: runs the script with nothing but the doubles and a few harmless tools.
expect() {
    local status=0 output
    number=$((number + 1))
    output=$(PATH=$directory/bin /bin/bash "$script" build 2>&1 </dev/null) || status=$?
    if [ "$status" = "$1" ] && [[ $output == *$2* ]]; then
        echo "ok $number - $2"
    else
        echo "not ok $number - expected $1 \"$2\", got $status \"$output\""
    fi
}

# double NAME: a tool that runs the script on standard input.
double() {
    { echo '#!/bin/bash'; cat; } >"$directory/bin/$1"
    chmod +x "$directory/bin/$1"
}

mkdir "$directory/bin"
ln -s /usr/bin/env "$directory/bin/env"
echo "1..6"
expect 1 "not a Debian system"

double dpkg-query <<<'echo installed'
expect 0 "packages are installed"

double dpkg-query <<<'[ "${!#}" = liburing-dev ] || echo installed'
double id <<<'echo 1000'
expect 1 "apt-get install liburing-dev"

double id <<<'echo 0'
expect 1 "there is no apt-get"

double apt-get <<<'exit 100'
expect 1 "apt-get update failed"

double apt-get <<<"[ -e $directory/updated ] || { [[ \$* == *update ]] && : >$directory/updated; }"
expect 0 "install-packages: done"
