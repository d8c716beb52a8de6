/* The option table: the one source of struct config, the TOML parser, --help, benchfs.toml(5) and
 * benchfs.toml.example.
 *
 * Included several times, with these macros defined by the includer:
 *     TABLE_BEGIN(table, help)
 *     OPTION(table, key, TYPE, default, minimum, maximum, help)
 *     TABLE_END(table)
 * Defaults and limits are text, in the form in which a user writes them. Types:
 *     STRING    at most 255 bytes of UTF-8 without control characters; limits unused
 *     CHOICE    one of the words in minimum, which are separated by |; maximum unused
 *     INTEGER   whole number
 *     SIZE      bytes, "64KiB", "1 GiB" or a plain number
 *     POWER     a SIZE that is a power of two
 *     DURATION  nanoseconds inside, "10s", "500us" outside
 *     BOOLEAN   true or false; limits unused
 * Every key has a reader outside base/ (tests/unit/base_config_readers.sh checks it). */

TABLE_BEGIN(cluster, "The cluster as a whole; fixed when it is started.")
OPTION(cluster, server_count, INTEGER, "1", "1", "1024",
       "Number of servers that \"benchfs start\" starts when neither -n nor --hosts is given.")
OPTION(cluster, placement, CHOICE, "hash", "hash|round_robin|local", "",
       "Where the chunks of a new file go: hashed over all servers, to all servers in turn, or to the server "
       "nearest to the process that creates the file. The first chunk always lives with the inode.")
OPTION(
    cluster, ring, CHOICE, "consistent", "consistent|bounded|rendezvous|modulo|round_robin", "",
    "How the 16384 parts of the namespace, and with them the chunks, are given to the servers. consistent: "
    "consistent hashing with 150 points a server. bounded: the same, but no server gets more than 5/4 of "
    "the mean. rendezvous: to the server with the highest weight. modulo: hash modulo the number of "
    "servers. round_robin: in turn. A persistent store stays with the one it was made with.")
OPTION(cluster, hash, CHOICE, "xxhash64", "xxhash64|murmur3|md5|koyama", "",
       "Hash function that cluster.ring uses. koyama, as in CHFS, sums the numbers in a name: it does not "
       "spread, so consistent and bounded do not take it.")
OPTION(cluster, consistency, CHOICE, "strict", "strict|close|relaxed", "",
       "What the calls of one process promise to others. strict: what a call returned, every later call "
       "anywhere sees. close: writes and sizes become visible at close and fsync; reads may come from what "
       "was read ahead since open. relaxed: also attributes may be as old as client.attribute_lifetime.")
OPTION(cluster, chunk_size, POWER, "1MiB", "64KiB", "64MiB", "Chunk size of new files, a power of two.")
TABLE_END(cluster)

TABLE_BEGIN(server, "Each server process.")
OPTION(server, listen, STRING, "127.0.0.1:0", "", "",
       "Address of the bootstrap port, as host:port. Port 0 lets the system choose; the cluster file tells "
       "clients which it was.")
OPTION(server, log_level, CHOICE, "info", "error|warning|info|debug", "", "What is logged.")
OPTION(server, log_file, STRING, "", "", "", "File to append log lines to; empty: standard error.")
OPTION(server, spin, DURATION, "50us", "0", "1s",
       "How long an idle server polls before it blocks in the kernel. Longer answers faster, shorter leaves "
       "more of the processor to others.")
OPTION(server, transports, STRING, "", "", "",
       "UCX transports of servers and clients, as in UCX_TLS, for everything, also within a host. Empty: "
       "BenchFS's own shared memory within a host, and between hosts UCX's choice; unless UCX_TLS is set in "
       "the environment, which then counts as if it stood here.")
OPTION(server, devices, STRING, "", "", "",
       "Network devices of servers and clients, as in UCX_NET_DEVICES; empty: the environment's or UCX's "
       "choice.")
OPTION(server, pin, BOOLEAN, "false", "", "",
       "Bind the server process with number n to the n-th processor it is allowed to use, counted around.")
TABLE_END(server)

TABLE_BEGIN(store, "Where a server keeps file contents.")
OPTION(store, engine, CHOICE, "mem", "mem|null|file|uring|pmem|rocksdb|tiered", "",
       "Storage engine. mem: memory of the server. null: drops what is written and reads a pattern, to "
       "measure everything but storage. file: a file for every chunk in store.path, through the page cache. "
       "uring: large files there, past the page cache, for NVMe devices; they grow with what is stored, to "
       "the capacity and a 64th more, at least 32 MiB, for what is being replaced. pmem: one file on "
       "persistent memory (DAX), mapped, that takes the capacity and a sixteenth more, at most 1 GiB, for "
       "what is being replaced; works on any other file system, too, through the page cache. rocksdb: a "
       "RocksDB database, which holds the namespace as well. tiered: store.fast over store.slow.")
OPTION(store, path, STRING, "", "", "",
       "Directory of a persistent engine on every server's host; each server uses the directory of its "
       "number in it. mem and null keep nothing and need none.")
OPTION(
    store, discard, BOOLEAN, "false", "", "",
    "Leave a persistent engine's directory as it is: what changes is kept in memory and forgotten when the "
    "server ends. For looking at directories that are not to be touched.")
OPTION(store, capacity, SIZE, "1GiB", "1MiB", "1PiB",
       "Bytes of file contents that one server accepts; a write beyond fails with ENOSPC.")
OPTION(
    store, durability, CHOICE, "interval", "none|interval|close|write", "",
    "What is promised to outlive the servers, on a persistent engine. none: what fsync was called for. "
    "interval: also what is older than store.interval. close: also what was written and closed, and new "
    "directories. write: everything that a call returned for. mem and null keep nothing, whatever this says.")
OPTION(store, interval, DURATION, "1s", "1ms", "1h",
       "How long a change may wait until it outlives the servers, unless store.durability is none.")
OPTION(store, journal_limit, SIZE, "256MiB", "1MiB", "1TiB",
       "How much journal a server writes before it takes a snapshot and begins anew: what the next start may "
       "have to replay, at about 300 MiB a second.")
OPTION(store, prefault, BOOLEAN, "false", "", "",
       "Touch all of the store's memory at start, so that no first write waits for the kernel to provide it.")
OPTION(store, checksum, BOOLEAN, "true", "", "",
       "Keep a CRC32C of every 4 KiB on a persistent engine and compare it on every read: what the device "
       "has changed reads as EIO, never as data.")
OPTION(store, buffer, SIZE, "128MiB", "4MiB", "1TiB",
       "Memory of a persistent engine for transfers under way; with rocksdb a third of it, the rest is for "
       "its caches. pmem needs none.")
OPTION(store, queue_depth, INTEGER, "128", "1", "4096",
       "How many transfers of a persistent engine the device has at a time; more wait in BenchFS.")
OPTION(store, fast, CHOICE, "mem", "mem|file|uring|pmem|rocksdb", "",
       "Of the engine tiered: the upper engine, which holds new chunks and those that are read often. With "
       "mem, what fsync has answered for, and after half a second everything, is in the lower one, too. A "
       "persistent one over a persistent one keeps what it is given: it goes down when it has to make room.")
OPTION(store, fast_path, STRING, "", "", "",
       "Of the engine tiered: directory of a persistent upper engine on every server's host, say on a faster "
       "device; each server uses the directory of its number in it. Empty: that of the lower one, in "
       "store.path, where the journal is in any case.")
OPTION(store, slow, CHOICE, "uring", "mem|file|uring|pmem|rocksdb", "",
       "Of the engine tiered: the lower engine, which has room for everything.")
OPTION(store, fast_capacity, SIZE, "256MiB", "1MiB", "1PiB",
       "Of the engine tiered: how much the upper engine holds, of store.capacity in all; for a moment it may "
       "be a quarter and 8 MiB more.")
TABLE_END(store)

TABLE_BEGIN(rpc, "Requests between servers, and between clients and servers.")
OPTION(rpc, deadline, DURATION, "10s", "10ms", "1h",
       "How long one request may take before it fails with ETIMEDOUT.")
OPTION(rpc, rendezvous_threshold, SIZE, "32KiB", "1KiB", "64MiB",
       "Transfers of at least this size are fetched by the receiver straight from the sender's memory; "
       "smaller ones travel with the message.")
TABLE_END(rpc)

TABLE_BEGIN(meta, "The namespace: files, directories and their attributes.")
OPTION(meta, open_lease, DURATION, "1ms", "0", "1s",
       "How long a client may serve reads of a small file from the data that came with open. A write by "
       "another client waits for it to pass. 0: open returns no data.")
OPTION(meta, capacity, SIZE, "4GiB", "1MiB", "1PiB",
       "Bytes of namespace and of small files that one server keeps; beyond, creation fails with ENOSPC.")
OPTION(meta, reserve, SIZE, "16MiB", "0", "1PiB",
       "Memory for the namespace that a server takes when it starts, about 200 bytes a file. Beyond it a "
       "creation waits now and then for a page from the system: 0.2 ms every 10,000 files, in some virtual "
       "machines several ms.")
OPTION(meta, board, SIZE, "8MiB", "0", "1TiB",
       "Memory in which a server shows attributes of files, and which names do not exist, to clients of the "
       "same user on its host: what was asked for twice, or comes next in a series, they read there and need "
       "not ask for, under every cluster.consistency. 192 bytes a file, and as many of them as are a power "
       "of two. 0: nothing is shown.")
OPTION(
    meta, board_contents, SIZE, "16MiB", "0", "1TiB",
    "Memory beside meta.board in which a server shows the contents of files of at most 4 KiB that were read "
    "twice, to the same clients, which then open, read and close such a file without a message: 4,160 bytes "
    "a "
    "file, taken when it is first shown. 0: none.")
TABLE_END(meta)

TABLE_BEGIN(client, "Programs that use the file system.")
OPTION(client, deadline, DURATION, "10s", "10ms", "1h",
       "How long a call may wait for the servers before it fails with ETIMEDOUT.")
OPTION(client, attribute_lifetime, DURATION, "1s", "0", "1h",
       "How long a process may go by attributes that it has seen, under cluster.consistency = relaxed.")
OPTION(client, spin, DURATION, "50us", "0", "1s",
       "How long a waiting thread polls before it blocks in the kernel.")
TABLE_END(client)

TABLE_BEGIN(metrics, "Measurement.")
OPTION(
    metrics, shared, BOOLEAN, "true", "", "",
    "Keep what servers and clients measure of themselves in files of /dev/shm/benchfs-UID, where \"benchfs "
    "top\", \"benchfs trace\" and the benchmarks read it; half a MiB for each server and each thread of a "
    "client. "
    "false: servers tell it only who asks them, clients nobody.")
OPTION(
    metrics, trace_entries, POWER, "4096", "64", "16777216",
    "How many operations each server, and each thread of a client, remembers for \"benchfs trace\", 64 bytes "
    "each; a power of two.")
OPTION(
    metrics, listen, STRING, "", "", "",
    "Where each server answers Prometheus, as host:port; server number n takes port + n. Port 0 lets the "
    "system choose; the server's log and \"benchfs status --json\" tell which it was. Anybody who reaches it "
    "may read it. Empty: nowhere.")
OPTION(
    metrics, slow, DURATION, "0", "0", "1h",
    "Requests that take a server so long or longer are noted for \"benchfs top\" and logged, at most ten a "
    "second, with what the time went to. 0: none. \"benchfs trace --slow\" changes it while servers run.")
OPTION(metrics, log_interval, DURATION, "0", "0", "1h", "How often a server logs how busy it was. 0: never.")
TABLE_END(metrics)
