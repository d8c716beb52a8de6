/* File locks: the table against a model that keeps one owner and type per byte, its bounds, and requests for
 * locks from clients that lose messages and die. */
#include "unit/unit.h"

#include "server/lock.h"
#include "unit/server_fixture.h"

/* ---- the table and a model ---- */

#define FILES 2u
#define OWNERS 5u
#define BYTES 24u

struct world {
    struct loop *loop;
    struct lock_table table;
    struct random random;
    uint8_t held[FILES][OWNERS][BYTES]; /* enum lock_type */
};

static uint64_t pick(struct world *world, uint64_t bound)
{
    return random_below(&world->random, bound);
}

/* Owners 0 and 1 are processes of one instance, 2 of another; 3 and 4 are descriptions. */
static uint64_t instance_of(unsigned owner)
{
    return owner == 2 || owner == 4 ? 200 : 100;
}

static struct lock_request request_of(unsigned file, unsigned owner, uint64_t start, uint64_t end,
                                      uint8_t type)
{
    return (struct lock_request){
        .inode = 1000 + file,
        .owner = owner,
        .start = start,
        .end = end,
        .pid = 10 + owner,
        .kind = owner < 3 ? LOCK_PROCESS : LOCK_DESCRIPTION,
        .type = type,
    };
}

static bool model_conflicts(const struct world *world, unsigned file, unsigned owner, uint64_t start,
                            uint64_t end, uint8_t type)
{
    for (unsigned other = 0; other < OWNERS; other++)
        for (uint64_t at = start; other != owner && at <= end; at++) {
            uint8_t held = world->held[file][other][at];
            if (held != LOCK_NONE && type != LOCK_NONE && (held == LOCK_EXCLUSIVE || type == LOCK_EXCLUSIVE))
                return true;
        }
    return false;
}

/* The lock that the table names is the model's in all of its bytes, and as long as it can be. */
static void check_named(const struct world *world, unsigned file, const struct lock_reply *conflict)
{
    unsigned owner = conflict->pid - 10;
    const uint8_t *held = world->held[file][owner];
    assert_true(owner < OWNERS && conflict->end < BYTES);
    for (uint64_t at = conflict->start; at <= conflict->end; at++)
        assert_int_equal(held[at], conflict->type);
    if (conflict->start > 0)
        assert_int_not_equal(held[conflict->start - 1], conflict->type);
    if (conflict->end + 1 < BYTES)
        assert_int_not_equal(held[conflict->end + 1], conflict->type);
}

static void world_open(struct world *world, uint64_t seed)
{
    *world = (struct world){0};
    assert_int_equal(loop_create(&(struct loop_options){.simulated = true, .seed = seed}, &world->loop), 0);
    locks_init(&world->table, world->loop);
    random_seed(&world->random, seed);
}

static void world_close(struct world *world)
{
    locks_destroy(&world->table);
    assert_int_equal(world->table.count, 0);
    loop_destroy(world->loop);
}

static void forget(struct world *world, unsigned owner)
{
    for (unsigned file = 0; file < FILES; file++)
        memset(world->held[file][owner], LOCK_NONE, BYTES);
}

static void random_step(struct world *world)
{
    unsigned file = (unsigned)pick(world, FILES), owner = (unsigned)pick(world, OWNERS);
    uint64_t start = pick(world, BYTES), end = start + pick(world, BYTES - start);
    uint8_t type = (uint8_t)pick(world, LOCK_TYPES);
    struct lock_request request = request_of(file, owner, start, end, type);
    struct lock_reply conflict;
    unsigned what = (unsigned)pick(world, 100);
    if (what < 2) { /* an instance ends */
        locks_end_instance(&world->table, instance_of(owner));
        for (unsigned other = 0; other < OWNERS; other++)
            if (instance_of(other) == instance_of(owner))
                forget(world, other);
    } else if (what < 6) { /* a process closes a file, a description is closed */
        struct lock_owner_request release = {.inode = request.inode, .owner = owner, .kind = request.kind};
        locks_release(&world->table, instance_of(owner), &release);
        if (request.kind == LOCK_PROCESS)
            memset(world->held[file][owner], LOCK_NONE, BYTES);
        else
            forget(world, owner);
    } else if (locks_conflict(&world->table, instance_of(owner), &request, &conflict)) {
        assert_true(model_conflicts(world, file, owner, start, end, type));
        check_named(world, file, &conflict);
    } else {
        assert_false(model_conflicts(world, file, owner, start, end, type));
        assert_int_equal(locks_apply(&world->table, instance_of(owner), &request), 0);
        memset(world->held[file][owner] + start, type, end - start + 1);
    }
}

static void the_table_is_as_the_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct world world;
        world_open(&world, seed);
        for (unsigned step = 0; step < 2000; step++)
            random_step(&world);
        world_close(&world);
    }
}

/* Beyond its bound the table refuses, changes nothing, and always unlocks what leaves no remainder. */
static void memory_is_bounded(void **state)
{
    (void)state;
    struct world world;
    struct lock_reply conflict;
    world_open(&world, 1);
    world.table.most = 4; /* a holder and three locks */
    for (uint64_t i = 0; i < 3; i++) {
        struct lock_request request = request_of(0, 0, 10 * i, 10 * i + 5, LOCK_EXCLUSIVE);
        assert_int_equal(locks_apply(&world.table, 100, &request), 0);
    }
    struct lock_request more = request_of(0, 0, 100, 105, LOCK_EXCLUSIVE);
    assert_int_equal(locks_apply(&world.table, 100, &more), -ENOLCK);
    struct lock_request other = request_of(1, 2, 100, 105, LOCK_EXCLUSIVE);
    assert_int_equal(locks_apply(&world.table, 200, &other), -ENOLCK);
    struct lock_request middle = request_of(0, 0, 2, 3, LOCK_NONE);
    assert_int_equal(locks_apply(&world.table, 100, &middle), -ENOLCK);
    other = request_of(0, 2, 0, 2, LOCK_SHARED);
    assert_true(locks_conflict(&world.table, 200, &other, &conflict));
    assert_int_equal(conflict.end, 5);
    struct lock_waiter *waiter;
    assert_int_equal(locks_wait(&world.table, 200, &other, &waiter), -ENOLCK);
    struct lock_request all = request_of(0, 0, 0, LOCK_OFFSET_MAX, LOCK_NONE);
    assert_int_equal(locks_apply(&world.table, 100, &all), 0);
    assert_int_equal(world.table.count, 0);
    world_close(&world);
}

static void a_shared_description_lives_with_its_last_holder(void **state)
{
    (void)state;
    struct world world;
    struct lock_reply conflict;
    world_open(&world, 1);
    struct lock_request lock = {.inode = 7, .owner = 99, .end = LOCK_OFFSET_MAX, .type = LOCK_EXCLUSIVE};
    struct lock_request other = {.inode = 7, .owner = 98, .end = LOCK_OFFSET_MAX, .type = LOCK_SHARED};
    struct lock_owner_request owner = {.inode = 7, .owner = 99};
    assert_int_equal(locks_share(&world.table, 200, &owner), 0); /* nothing to hold yet */
    assert_int_equal(locks_apply(&world.table, 100, &lock), 0);
    assert_int_equal(locks_share(&world.table, 200, &owner), 0);
    locks_release(&world.table, 100, &owner);
    assert_true(locks_conflict(&world.table, 100, &other, &conflict));
    locks_end_instance(&world.table, 200);
    assert_false(locks_conflict(&world.table, 100, &other, &conflict));
    assert_int_equal(world.table.count, 0);
    world_close(&world);
}

/* Who dies while it waits for more loses its place alone: what both held stays the other's. */
static void a_dead_holder_waits_for_nothing(void **state)
{
    (void)state;
    struct world world;
    struct lock_reply conflict;
    struct lock_waiter *waiter;
    world_open(&world, 1);
    struct lock_request lock = {.inode = 7, .owner = 99, .end = LOCK_OFFSET_MAX, .type = LOCK_SHARED};
    struct lock_request other = {.inode = 7, .owner = 98, .end = LOCK_OFFSET_MAX, .type = LOCK_SHARED};
    struct lock_owner_request owner = {.inode = 7, .owner = 99};
    assert_int_equal(locks_apply(&world.table, 100, &lock), 0);
    assert_int_equal(locks_share(&world.table, 200, &owner), 0);
    assert_int_equal(locks_apply(&world.table, 300, &other), 0);
    lock.type = LOCK_EXCLUSIVE;
    lock.ticket = 1;
    assert_int_equal(locks_wait(&world.table, 100, &lock, &waiter), 0);
    locks_end_instance(&world.table, 100);
    assert_null(locks_find_waiter(&world.table, 100, &lock));
    locks_end_instance(&world.table, 300);
    assert_false(locks_conflict(&world.table, 300, &other, &conflict));
    other.type = LOCK_EXCLUSIVE;
    assert_true(locks_conflict(&world.table, 300, &other, &conflict));
    assert_int_equal(conflict.type, LOCK_SHARED);
    locks_release(&world.table, 200, &owner);
    assert_int_equal(world.table.count, 0);
    world_close(&world);
}

/* What one holder locks after an unlock of the other's is both's. */
static void a_shared_description_is_shared_without_locks(void **state)
{
    (void)state;
    struct world world;
    struct lock_reply conflict;
    world_open(&world, 1);
    struct lock_request lock = {.inode = 7, .owner = 99, .end = LOCK_OFFSET_MAX, .type = LOCK_SHARED};
    struct lock_request other = {.inode = 7, .owner = 98, .end = LOCK_OFFSET_MAX, .type = LOCK_EXCLUSIVE};
    struct lock_owner_request owner = {.inode = 7, .owner = 99};
    assert_int_equal(locks_apply(&world.table, 100, &lock), 0);
    assert_int_equal(locks_share(&world.table, 200, &owner), 0);
    lock.type = LOCK_NONE;
    assert_int_equal(locks_apply(&world.table, 200, &lock), 0);
    lock.type = LOCK_EXCLUSIVE;
    assert_int_equal(locks_apply(&world.table, 200, &lock), 0);
    locks_end_instance(&world.table, 200);
    assert_true(locks_conflict(&world.table, 300, &other, &conflict));
    locks_release(&world.table, 100, &owner);
    assert_false(locks_conflict(&world.table, 300, &other, &conflict));
    assert_int_equal(world.table.count, 0);
    world_close(&world);
}

/* Each of many processes waits for the next one; the last would close the circle. */
static void long_circles_are_found(void **state)
{
    (void)state;
    enum { LONG = 20 };
    struct world world;
    struct lock_waiter *waiter;
    world_open(&world, 1);
    for (unsigned i = 0; i < LONG; i++) {
        struct lock_request request = {
            .inode = 7, .owner = i, .start = i, .end = i, .kind = LOCK_PROCESS, .type = LOCK_EXCLUSIVE};
        assert_int_equal(locks_apply(&world.table, 100, &request), 0);
    }
    for (unsigned i = 0; i < LONG; i++) {
        unsigned next = (i + 1) % LONG;
        struct lock_request request = {
            .inode = 7, .owner = i, .start = next, .end = next, .kind = LOCK_PROCESS, .type = LOCK_SHARED};
        assert_int_equal(locks_wait(&world.table, 100, &request, &waiter), i + 1 < LONG ? 0 : -EDEADLK);
    }
    world_close(&world);
}

/* ---- requests ---- */

static struct fixture f;
static uint64_t inode;

static int close_fixture(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static void open_fixture(uint32_t loss_per_million)
{
    struct fixture_options options = {.servers = 2, .loss_per_million = loss_per_million, .instances = true};
    struct attributes attributes = {0};
    struct create what = {.parent = INODE_ROOT, .name = "file", .mode = 0644};
    fixture_open(&f, &options);
    assert_int_equal(create(&f, &what, &attributes), 0);
    inode = attributes.inode;
}

static int lock_call(struct party *party, uint64_t owner, uint8_t type, uint8_t flags, uint16_t wait_ms)
{
    struct operation_call c;
    *(struct lock_request *)c.body = (struct lock_request){
        .inode = inode,
        .owner = owner,
        .end = LOCK_OFFSET_MAX,
        .ticket = owner,
        .type = type,
        .flags = flags,
        .wait_ms = wait_ms,
    };
    call_prepare(&f, &c, RPC_LOCK, sizeof(struct lock_request), 0);
    rpc_start(party->peers[server_of(&f, inode)], &c.call);
    return finish(&c);
}

static void bad_requests_are_refused(void **state)
{
    (void)state;
    open_fixture(0);
    struct operation_call c;
    const struct lock_request bad[] = {
        {.inode = inode, .end = LOCK_OFFSET_MAX, .type = LOCK_TYPES},
        {.inode = inode, .end = LOCK_OFFSET_MAX, .kind = LOCK_KINDS},
        {.inode = inode, .end = LOCK_OFFSET_MAX + 1, .kind = LOCK_PROCESS},
        {.inode = inode, .start = 5, .end = 4, .kind = LOCK_PROCESS},
        {.inode = inode, .end = 100, .kind = LOCK_FLOCK, .type = LOCK_SHARED},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        memcpy(c.body, &bad[i], sizeof(bad[i]));
        call_prepare(&f, &c, RPC_LOCK, sizeof(bad[i]), 0);
        rpc_start(f.client.peers[server_of(&f, inode)], &c.call);
        assert_int_equal(finish(&c), -EINVAL);
    }
    uint64_t there = inode;
    inode++;
    int status = lock_call(&f.client, 1, LOCK_SHARED, 0, 0);
    assert_true(status == -ESTALE || status == -STATUS_WRONG_EPOCH);
    inode = there;
}

static void a_place_in_the_queue_is_kept(void **state)
{
    (void)state;
    open_fixture(0);
    assert_int_equal(lock_call(&f.client, 1, LOCK_EXCLUSIVE, 0, 0), 0);
    assert_int_equal(lock_call(&f.second, 2, LOCK_EXCLUSIVE, 0, 0), -EAGAIN);
    assert_int_equal(lock_call(&f.second, 2, LOCK_EXCLUSIVE, LOCK_WAIT, 5), -STATUS_LOCK_WAIT);
    assert_int_equal(lock_call(&f.second, 2, LOCK_EXCLUSIVE, LOCK_WAIT, 5), -STATUS_LOCK_WAIT);
    assert_int_equal(lock_call(&f.second, 2, LOCK_EXCLUSIVE, LOCK_GIVE_UP, 0), 0);
    assert_int_equal(lock_call(&f.client, 1, LOCK_NONE, 0, 0), 0);
    assert_int_equal(lock_call(&f.client, 1, LOCK_EXCLUSIVE, 0, 0), 0); /* given up, so not given to it */
    assert_int_equal(lock_call(&f.client, 1, LOCK_NONE, 0, 0), 0);
    assert_int_equal(lock_call(&f.second, 2, LOCK_EXCLUSIVE, LOCK_WAIT, 5), 0);
}

struct worker {
    struct party *party;
    uint64_t owner;
    unsigned rounds;
    bool dies;
    bool finished;
};

static unsigned inside, entered;

static void lock_in_turn(void *argument)
{
    struct worker *worker = argument;
    for (unsigned round = 0; round < worker->rounds; round++) {
        int status;
        do {
            status = lock_call(worker->party, worker->owner, LOCK_EXCLUSIVE, LOCK_WAIT, 20);
        } while (status == -STATUS_LOCK_WAIT);
        if (status != 0)
            break;
        assert_int_equal(inside++, 0);
        entered++;
        if (worker->dies && round == worker->rounds / 2) {
            inside = 0; /* it dies with the lock */
            net_sim_kill(worker->party->net);
            break;
        }
        task_sleep(f.loop, 1 + random_below(loop_random(f.loop), 3 * NSEC_PER_MSEC));
        assert_int_equal(inside--, 1);
        if (lock_call(worker->party, worker->owner, LOCK_NONE, 0, 0) != 0)
            break;
    }
    worker->finished = true;
}

static void run_workers(bool dies)
{
    enum { WORKERS = 6 };
    struct worker workers[WORKERS];
    inside = entered = 0;
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.party = i % 2 == 0 ? &f.client : &f.second,
                                     .owner = 10 + i,
                                     .rounds = 20,
                                     .dies = dies && i == 1};
        assert_int_equal(task_spawn(f.loop, lock_in_turn, &workers[i]), 0);
    }
    unsigned finished = 0;
    for (uint64_t turn = 0; turn < 10000000 && finished < WORKERS; turn++) {
        loop_poll(f.loop);
        finished = 0;
        for (unsigned i = 0; i < WORKERS; i++)
            finished += workers[i].finished;
    }
    assert_int_equal(finished, WORKERS);
    if (!dies)
        assert_int_equal(entered, WORKERS * 20);
    else
        assert_true(entered >= WORKERS / 2 * 20); /* those of the other client did all of theirs */
}

static void one_at_a_time(void **state)
{
    (void)state;
    open_fixture(0);
    run_workers(false);
}

static void one_at_a_time_whatever_is_lost(void **state)
{
    (void)state;
    open_fixture(20000);
    run_workers(false);
}

static void the_dead_let_go(void **state)
{
    (void)state;
    open_fixture(0);
    run_workers(true);
}

#define CASE(name) cmocka_unit_test_teardown(name, close_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_as_the_model),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(a_shared_description_lives_with_its_last_holder),
        cmocka_unit_test(a_dead_holder_waits_for_nothing),
        cmocka_unit_test(a_shared_description_is_shared_without_locks),
        cmocka_unit_test(long_circles_are_found),
        CASE(bad_requests_are_refused),
        CASE(a_place_in_the_queue_is_kept),
        CASE(one_at_a_time),
        CASE(one_at_a_time_whatever_is_lost),
        CASE(the_dead_let_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
