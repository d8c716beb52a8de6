#!/bin/bash
# benchfsd as its starter sees it: the conversation, wrong usage, signals. Usage: benchfsd.sh BENCHFSD
set -u
benchfsd=$1
directory=$(mktemp -d)
server=
trap '[ -n "$server" ] && kill -KILL "$server" 2>/dev/null; rm -rf "$directory"' EXIT
head -c 32 /dev/urandom > "$directory/key"
chmod 600 "$directory/key"
number=0

# check WHAT CONDITION...
check() {
    local what=$1
    shift
    number=$((number + 1))
    if "$@"; then echo "ok $number - $what"; else echo "not ok $number - $what"; fi
}

# refused WHAT STATUS PATTERN ARGUMENT...: that exit status, and one line that says why, which matches
refused() {
    local what=$1 status=$2 pattern=$3
    shift 3
    "$benchfsd" "$@" </dev/null >"$directory/out" 2>"$directory/error"
    local got=$?
    grep -v ' info ' "$directory/error" >"$directory/reasons"
    sed "s/^/# exit status $got: /" "$directory/reasons"
    check "$what" [ "$got $(wc -l <"$directory/reasons") $(grep -c -- "$pattern" "$directory/reasons")" = "$status 1 1" ]
}

# Starts a server and reads its address into $address. Its standard input is file descriptor 3, its output 4.
start() {
    rm -f "$directory/in" "$directory/answers"
    mkfifo "$directory/in" "$directory/answers"
    "$benchfsd" --id 4 --key-file "$directory/key" "$@" <"$directory/in" >"$directory/answers" 2>"$directory/error" &
    server=$!
    exec 3>"$directory/in" 4<"$directory/answers"
    read -r -t 20 ready address <&4
    [ "$ready" = ready ]
}

finish() {
    wait "$server"
    local status=$?
    server=
    exec 3>&- 4<&-
    return $status
}

refused "an unknown option" 2 "unknown option --frobnicate" --frobnicate
refused "an option without its value" 2 "--id needs a value" --id
refused "no id" 2 "--id is missing" --key-file "$directory/key"
refused "a bad id" 2 "not \"x\"" --id x --key-file "$directory/key"
refused "no key file" 2 "--key-file is missing" --id 1
refused "a stray argument" 2 "unexpected argument extra" --id 1 --key-file "$directory/key" extra
refused "an unknown key" 2 "store.engin: unknown key" --id 1 --key-file "$directory/key" --set store.engin=mem
refused "a malformed setting" 2 "TABLE.KEY=VALUE" --id 1 --key-file "$directory/key" --set storeengine
refused "an unknown engine" 2 "floppy" --id 1 --key-file "$directory/key" --store floppy
printf '[store]\ncapacity = 5\n' >"$directory/bad.toml"
refused "a bad configuration file" 2 "bad.toml:2: \[store\] capacity" --id 1 --key-file "$directory/key" -c "$directory/bad.toml"
refused "a missing key file" 1 "No such file" --id 1 --key-file "$directory/absent"
cp "$directory/key" "$directory/open_key"
chmod 644 "$directory/open_key"
refused "a key that others can read" 1 "readable by its owner only" --id 1 --key-file "$directory/open_key"
refused "standard input that ends before go" 1 "ended before \"go\"" --id 1 --key-file "$directory/key"
refused "an address that is not there" 1 "cannot serve at 192.0.2.1:1" --id 1 --key-file "$directory/key" --listen 192.0.2.1:1

"$benchfsd" --help >"$directory/out" 2>&1
check "--help names every table" bash -c '! for t in cluster server store rpc meta client; do grep -q "$t" "$0" || echo missing; done | grep -q .' "$directory/out"
check "--version" bash -c '"$0" --version | grep -cE "^benchfsd [0-9]+\.[0-9]+" >/dev/null' "$benchfsd"

for signal in TERM INT; do
    start --set store.capacity=8MiB
    check "is ready (then SIG$signal)" [ "$ready" = ready ]
    printf 'server 4 %s\ngo\n' "$address" >&3
    read -r -t 20 answer <&4
    check "serves" [ "$answer" = serving ]
    exec 3>&-
    kill -"$signal" "$server"
    check "ends cleanly" finish
done

start
printf 'server 9 127.0.0.1:1\ngo\n' >&3
finish
check "refuses a map without itself" [ $? -eq 1 ]
start
printf 'nonsense\n' >&3
finish
check "refuses what it does not understand" [ $? -eq 1 ]
start
printf 'server 4 127.0.0.1:1\nserver 4 127.0.0.1:2\n' >&3
finish
check "refuses the same id twice" [ $? -eq 1 ]
start
kill -TERM "$server"
check "ends cleanly before go" finish

# An idle server sleeps: no more than one clock tick (10 ms) of processor time in 2 s.
start
printf 'server 4 %s\ngo\n' "$address" >&3
read -r -t 20 answer <&4
ticks() { awk '{print $14 + $15}' "/proc/$server/stat"; }
before=$(ticks)
sleep 2
check "uses no processor when idle" [ $(($(ticks) - before)) -le 1 ]
kill -TERM "$server"
check "ends cleanly after idling" finish
echo "1..$number"
