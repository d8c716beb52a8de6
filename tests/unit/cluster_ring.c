/* The ring is deterministic, balanced, and moves only what it must. */
#include "unit/unit.h"

#include <stdlib.h>

#include "base/hash.h"
#include "cluster/ring.h"

enum { PROBES = 200000 };

static uint64_t probe(uint32_t number)
{
    return hash_mix(number + UINT64_C(0x9e3779b97f4a7c15));
}

static struct ring *ring_of(uint32_t first, uint32_t count)
{
    uint32_t ids[1024];
    for (uint32_t i = 0; i < count; i++)
        ids[i] = first + i;
    struct ring *ring;
    assert_int_equal(ring_create(ids, count, HASH_XXHASH64, &ring), 0);
    return ring;
}

static void owners_are_fixed(void **state)
{
    (void)state;
    /* Computed once with another implementation (Python: xxhash, bisect). A change here orphans every stored
     * partition. */
    static const struct {
        uint64_t hash;
        uint32_t owner;
    } vectors[] = {{UINT64_C(0x0000000000000000), 3}, {UINT64_C(0xffffffffffffffff), 3},
                   {UINT64_C(0x0044ba367f9559b4), 3}, {UINT64_C(0x0044ba367f9559b5), 0},
                   {UINT64_C(0xff1b478a89349600), 1}, {UINT64_C(0xff1b478a89349601), 3},
                   {UINT64_C(0x123456789abcdef0), 0}, {UINT64_C(0x8000000000000000), 0},
                   {UINT64_C(0xdeadbeefdeadbeef), 0}, {UINT64_C(0x4000000000000000), 2}};
    struct ring *ring = ring_of(0, 4);
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
        assert_int_equal(ring_owner(ring, vectors[i].hash), vectors[i].owner);
    ring_destroy(ring);
}

static void order_of_ids_does_not_matter(void **state)
{
    (void)state;
    const uint32_t forward[] = {3, 8, 1}, backward[] = {1, 8, 3};
    struct ring *a, *b;
    assert_int_equal(ring_create(forward, 3, HASH_XXHASH64, &a), 0);
    assert_int_equal(ring_create(backward, 3, HASH_XXHASH64, &b), 0);
    for (uint32_t i = 0; i < PROBES; i++)
        assert_int_equal(forward[ring_owner(a, probe(i))], backward[ring_owner(b, probe(i))]);
    ring_destroy(a);
    ring_destroy(b);
}

static void one_server_owns_everything(void **state)
{
    (void)state;
    struct ring *ring = ring_of(7, 1);
    assert_int_equal(ring_owner(ring, 0), 0);
    assert_int_equal(ring_owner(ring, UINT64_MAX), 0);
    ring_destroy(ring);
}

/* With 150 points a server's share has a standard deviation of about 1/sqrt(150) = 8 % of the mean. */
static void shares_are_balanced(void **state)
{
    (void)state;
    enum { SERVERS = 16 };
    struct ring *ring = ring_of(0, SERVERS);
    uint32_t shares[SERVERS] = {0};
    for (uint32_t i = 0; i < PROBES; i++)
        shares[ring_owner(ring, probe(i))]++;
    uint32_t most = 0, least = UINT32_MAX;
    for (uint32_t i = 0; i < SERVERS; i++) {
        most = shares[i] > most ? shares[i] : most;
        least = shares[i] < least ? shares[i] : least;
    }
    double mean = (double)PROBES / SERVERS;
    print_message("# 16 servers: max/mean %.3f, min/mean %.3f\n", most / mean, least / mean);
    assert_true(most < 1.25 * mean);
    assert_true(least > 0.75 * mean);
    ring_destroy(ring);
}

static void adding_a_server_moves_its_share_only(void **state)
{
    (void)state;
    enum { SERVERS = 16 };
    struct ring *before = ring_of(0, SERVERS), *after = ring_of(0, SERVERS + 1);
    uint32_t moved = 0;
    for (uint32_t i = 0; i < PROBES; i++) {
        uint32_t from = ring_owner(before, probe(i)), to = ring_owner(after, probe(i));
        if (from != to) {
            assert_int_equal(to, SERVERS); /* nothing moves between servers that stay */
            moved++;
        }
    }
    double expected = (double)PROBES / (SERVERS + 1);
    print_message("# 16 to 17 servers: %.4f moved, 1/17 is %.4f\n", (double)moved / PROBES,
                  1.0 / (SERVERS + 1));
    assert_true(moved > 0.7 * expected && moved < 1.3 * expected);
    ring_destroy(before);
    ring_destroy(after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(owners_are_fixed),
        cmocka_unit_test(order_of_ids_does_not_matter),
        cmocka_unit_test(one_server_owns_everything),
        cmocka_unit_test(shares_are_balanced),
        cmocka_unit_test(adding_a_server_moves_its_share_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
