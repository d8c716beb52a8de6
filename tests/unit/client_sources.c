/* All regions of a cluster: files of this host, and servers that are asked. */
#include "unit/server_fixture.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/sources.h"
#include "metrics/files.h"

enum { TRACE = 256 };

static char directory[] = "/tmp/sources-XXXXXX";

static int make_place(void **state)
{
    (void)state;
    return mkdtemp(directory) == NULL ? -1 : 0;
}

static int remove_place(void **state)
{
    (void)state;
    char place[METRICS_PATH_MAX];
    metrics_prune(directory, NULL, 0, 100);
    metrics_directory(directory, place);
    rmdir(place);
    return rmdir(directory);
}

static const char *const addresses[] = {"127.0.0.1:1", "127.0.0.1:2"};
static const uint32_t ids[] = {4, 7};
static const struct sources_options local = {
    .directory = directory, .addresses = addresses, .ids = ids, .count = 2, .clients = true, .ended = true};

static struct metrics *make(enum metrics_role role, uint32_t server, const char *cluster)
{
    struct metrics *metrics;
    int shared = -1;
    assert_int_equal(metrics_create(directory, TRACE, &metrics, &shared), 0);
    assert_int_equal(shared, 0);
    metrics_identify(metrics, role, server, cluster);
    return metrics;
}

static void files_of_the_cluster_are_found(void **state)
{
    (void)state;
    struct metrics *other = make(METRICS_ROLE_SERVER, 4, "127.0.0.1:9");
    struct metrics *seven = make(METRICS_ROLE_SERVER, 7, addresses[0]);
    struct metrics *client = make(METRICS_ROLE_CLIENT, UINT32_MAX, addresses[0]);
    struct metrics *nobody = make(METRICS_ROLE_NONE, UINT32_MAX, "");
    struct sources sources;
    assert_int_equal(sources_open(&local, &sources), 0);
    assert_int_equal(sources.count, 3);
    assert_null(sources.list[0]->reader); /* no server 4 */
    assert_int_equal(sources.list[0]->status, -ENOENT);
    assert_int_equal(sources.list[1]->server, 7);
    assert_int_equal(sources.list[1]->status, 0);
    assert_false(sources.list[1]->remote);
    assert_int_equal(sources.list[1]->reader->header.server, 7);
    assert_int_equal(sources.list[2]->server, UINT32_MAX);

    /* One that comes later, and one that had not known its cluster. */
    struct metrics *four = make(METRICS_ROLE_SERVER, 4, addresses[0]);
    metrics_identify(nobody, METRICS_ROLE_CLIENT, UINT32_MAX, addresses[0]);
    struct source *kept = sources.list[2];
    kept->own = &kept;
    assert_int_equal(sources_refresh(&sources), 0);
    assert_int_equal(sources.count, 4);
    assert_non_null(sources.list[0]->reader);
    assert_ptr_equal(sources.list[2], kept);
    assert_ptr_equal(kept->own, &kept);

    /* What readers set arrives. */
    struct metrics_control control = {.slow_ns = 5, .detail_until = METRICS_LEAVE};
    assert_int_equal(metrics_source_control(sources.list[0]->reader, &control), 0);
    assert_int_equal(four->header->slow_ns, 5);
    assert_int_equal(four->header->detail_until, 0);

    /* A server that ends in good order. */
    metrics_destroy(seven);
    metrics_destroy(nobody);
    assert_int_equal(sources_refresh(&sources), 0);
    assert_null(sources.list[1]->reader);
    assert_true(sources.list[1]->status < 0);
    assert_true(sources.list[3]->ended);
    assert_int_equal(metrics_source_control(sources.list[3]->reader, &control), -ENOENT);
    sources_close(&sources);
    metrics_destroy(other);
    metrics_destroy(client);
    metrics_destroy(four);
}

static void what_the_dead_left_is_found(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        make(METRICS_ROLE_SERVER, 4, addresses[0]);
        raise(SIGKILL);
    }
    waitpid(child, NULL, 0);
    struct metrics *four = make(METRICS_ROLE_SERVER, 4, addresses[0]);
    struct sources_options options = local;
    struct sources sources;
    assert_int_equal(sources_open(&options, &sources), 0);
    assert_int_equal(sources.count, 3);
    assert_int_equal(sources.list[0]->reader->header.pid, getpid());
    assert_true(sources.list[2]->ended);
    assert_int_equal(sources.list[2]->server, 4);
    sources_close(&sources);
    options.ended = false;
    assert_int_equal(sources_open(&options, &sources), 0);
    assert_int_equal(sources.count, 2);
    sources_close(&sources);
    metrics_destroy(four);
    metrics_prune(directory, NULL, 0, 100);
}

static void servers_elsewhere_are_asked(void **state)
{
    (void)state;
    struct fixture f;
    struct fixture_options options = {.servers = 2};
    fixture_open(&f, &options);
    const char *there[] = {f.map->servers[0].address, f.map->servers[1].address, "nowhere:5"};
    const uint32_t numbers[] = {10, 11, 12};
    struct sources_options remote = {.directory = directory,
                                     .rpc = f.client.rpc,
                                     .patience = NSEC_PER_SEC,
                                     .addresses = there,
                                     .ids = numbers,
                                     .count = 3};
    struct sources sources;
    struct metrics_snapshot snapshot;
    assert_int_equal(sources_open(&remote, &sources), 0);
    assert_int_equal(sources.count, 3);
    for (uint32_t i = 0; i < 2; i++) {
        struct source *source = sources.list[i];
        assert_int_equal(source->status, 0);
        assert_true(source->remote);
        assert_int_equal(metrics_snapshot_read(source->reader, &snapshot), 0);
        assert_true(snapshot.operations[RPC_READ_METRICS].count > 0);
        int64_t offset;
        uint64_t error;
        assert_true(clock_offset_estimate(&source->clock, loop_now(f.loop), &offset, &error));
        assert_true((uint64_t)(offset < 0 ? -offset : offset) <= error); /* it is one clock */
        assert_int_equal(source->clock.contradictions, 0);
    }
    assert_null(sources.list[2]->reader);
    assert_true(sources.list[2]->status < 0);
    struct metrics_control control = {.slow_ns = 77, .detail_until = 1};
    assert_int_equal(metrics_source_control(sources.list[0]->reader, &control), 0);
    assert_int_equal(loop_metrics(f.loop)->header->slow_ns, 77);

    /* Nothing beyond the region is told. */
    struct metrics_source *reader = sources.list[0]->reader;
    char byte;
    uint64_t end = reader->header.bytes;
    assert_int_equal(reader->read(reader, end - 1, &byte, 1), 0);
    assert_int_equal(reader->read(reader, end, &byte, 1), -EINVAL);
    assert_int_equal(reader->read(reader, UINT64_MAX, &byte, 1), -EINVAL);
    sources_close(&sources);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_the_cluster_are_found),
        cmocka_unit_test(what_the_dead_left_is_found),
        cmocka_unit_test(servers_elsewhere_are_asked),
    };
    return cmocka_run_group_tests(tests, make_place, remove_place);
}
