#!/bin/bash
# metrics.listen: what Prometheus reads, and what the dashboard asks for.
. "$(dirname "$0")/cluster.sh"
tests=$(realpath "$(dirname "$0")")

# fetch SERVER [PATH [METHOD]]: the answer's body; fails unless it is 200
fetch() {
    local address
    address=$(benchfs status --json | sed -n 's/.*"exporter": "\(.*\)".*/\1/p' | sed -n "$(($1 + 1))p")
    python3 -c 'import sys, urllib.request
request = urllib.request.Request("http://" + sys.argv[1] + sys.argv[2], method=sys.argv[3])
answer = urllib.request.urlopen(request, timeout=20)
assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4"), answer.headers["Content-Type"]
sys.stdout.write(answer.read().decode())' "$address" "${2:-/metrics}" "${3:-GET}"
}
scrape() { fetch "$1" >"$work/scraped"; }
sum() { awk -v pattern="$1" '$0 ~ pattern { sum += $NF } END { print sum + 0 }' "$work/scraped"; }
same() { [ "$1" = "$2" ] || { echo "\"$1\" is not \"$2\""; return 1; }; }
not() { ! "$@"; }
understands() { command -v promtool >/dev/null || { echo "# no promtool"; return 0; }; promtool check rules "$work/rules"; }
lint() { command -v promtool >/dev/null || { echo "# no promtool"; return 0; }; promtool check metrics <"$work/scraped"; }

ok "start" benchfs start -n 2 --store mem --set store.capacity=64MiB --set metrics.listen=127.0.0.1:0 --set metrics.slow=1ns
for i in 1 2 3; do benchfs mkdir "/directory.$i" >/dev/null; done
head -c 300000 /dev/urandom >"$work/file"
benchfs cp "$work/file" benchfs:/file >/dev/null
ok "the first server answers" scrape 0
ok "by the format" python3 "$tests/check_exposition.py" "$work/scraped"
ok "the dashboard asks for nothing else" python3 "$tests/check_exposition.py" "$work/scraped" \
    "$tests/../../share/benchfs/grafana-dashboard.json" "$work/rules"
ok "promtool, if it is here, understands its questions" understands
ok "promtool, if it is here, finds nothing" lint
cp "$work/scraped" "$work/first"
ok "so does the second" scrape 1
cat "$work/first" >>"$work/scraped"
ok "directories are counted" same "$(sum 'operations_total.*CREATE_DIRECTORY.*served')" 3
ok "and bytes" same "$(sum 'operation_bytes_total.*WRITE_CHUNK.*served')" 300000
whole() { [ "$1" -gt 0 ] && [ "$1" -lt "$2" ] || { echo "$1 of $2"; return 1; }; }
benchfs bench md --files 100 --repeats 1 >/dev/null 2>&1
scrape 0
ok "only replies that were measured are" whole "$(sum 'operation_seconds_count.*CREATE_FILE.*served.*stage="reply"')" \
    "$(($(sum 'operation_seconds_count.*CREATE_FILE.*served.*stage="total"') / 4))"
ok "times below a microsecond are told apart" grep -cE 'CREATE_FILE.*served.*handler.*le="2e-07"' "$work/scraped"
ok "slow requests are" not same "$(sum '^benchfs_slow_requests_total')" 0
ok "other paths are not found" not fetch 0 /else
ok "other methods are refused" not fetch 0 /metrics POST
ok "a scrape does not ask the server" same \
    "$(scrape 0; before=$(grep -c READ_METRICS "$work/scraped"); scrape 0; echo $(($(grep -c READ_METRICS "$work/scraped") - before)))" 0
ok "stop" benchfs stop
ok "start without shared memory" benchfs start -n 1 --store mem --set store.capacity=64MiB --set metrics.listen=127.0.0.1:0 \
    --set metrics.shared=false
benchfs ls / >/dev/null
ok "it is told from memory" eval 'scrape 0 && python3 "$tests/check_exposition.py" "$work/scraped"'
benchfs stop >/dev/null
ok "an address that makes no sense does not keep a server from serving" benchfs start -n 1 --set store.capacity=64MiB \
    --set metrics.listen=nowhere
ok "but is logged" grep -q 'cannot answer Prometheus at nowhere' "$BENCHFS_CLUSTER.d"/*.log
ok "stop again" benchfs stop
finish
