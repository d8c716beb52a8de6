/* The shm transport carries headers and bulk by every path, wakes whoever sleeps, and a dead, stopped or
 * hostile peer costs nothing but its own connections. */
#include "net_conformance.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/un.h>

#include "base/random.h"
#include "net/shm.h"

static struct net_shm_options options;

static int transport_create(struct loop *on, struct net **net)
{
    return net_shm_create(on, &options, net);
}

static void transport_reset(void)
{
    options = (struct net_shm_options){0};
}

static bool comes_at_once(size_t length)
{
    return length <= SHM_INLINE_MAX;
}

static struct shm_net *shm_of(struct net *net)
{
    return container_of(net, struct shm_net, base);
}

static int set_up_sharing(void **state)
{
    options.share_memory = true;
    return set_up(state);
}

static int set_up_sharing_alone(void **state)
{
    options.share_memory = true;
    options.without_fetch = true;
    return set_up(state);
}

static int set_up_without_fetch(void **state)
{
    options.without_fetch = true;
    return set_up(state);
}

/* ---- another process ---- */

static int set_up_drowsy_loop(void **state)
{
    (void)state;
    assert_int_equal(loop_create(&(struct loop_options){.spin_ns = 1000}, &loop), 0);
    return 0;
}

/* kill -9 of the peer: it is noticed, and closing loses no completion. */
static void a_dead_peer_is_noticed_and_can_be_closed(void **state)
{
    (void)state;
    struct remote remote = remote_start('e');
    party_open(&left, loop);
    remote_connect(&remote, &left);
    static struct completion sent[MESSAGES_MAX];
    static uint8_t header[64], bytes[64 << 10];
    unsigned pending = 0;
    int status = 0;
    memset(sent, 0, sizeof sent);
    assert_int_equal(send_and_wait(left.connection, header, sizeof header, NULL, 0, 0), 0);
    until(left.messages == 1);
    remote_kill(&remote);
    for (unsigned i = 0; i < MESSAGES_MAX && status != -ECONNRESET; i++) {
        struct iovec bulk = {bytes, i % 3 == 0 ? sizeof bytes : 4096};
        status = net_send(left.connection, header, sizeof header, &bulk, 1, 0, &sent[pending]);
        assert_true(status == 0 || status == -EINPROGRESS || status == -ECONNRESET);
        pending += status == -EINPROGRESS;
    }
    until(net_send(left.connection, header, sizeof header, NULL, 0, 0, &sent[pending]) == -ECONNRESET);
    for (unsigned i = 0; i < pending; i++)
        assert_true(sent[i].fired && sent[i].status == -ECONNRESET);
    net_close(left.connection);
    until(shm_of(left.net)->inbound_count == 0);
    net_destroy(left.net);
}

/* What a stopped peer does not take waits here, and hinders nobody else. */
static void a_stopped_peer_with_a_full_ring_hinders_nobody(void **state)
{
    (void)state;
    struct party other;
    struct net_connection *stopped;
    struct remote remote = remote_start('e');
    party_open(&left, loop);
    party_open(&other, loop);
    assert_int_equal(net_connect(left.net, other.net->address, other.net->address_length, &left.connection),
                     0);
    struct net_connection *to_other = left.connection;
    remote_connect(&remote, &left);
    stopped = left.connection;
    static struct completion sent[MESSAGES_MAX];
    static uint8_t header[64], bytes[4096];
    struct iovec bulk = {bytes, sizeof bytes};
    for (unsigned round = 0; round < 2; round++) {
        unsigned before = left.messages, pending = 0, all = 0;
        memset(sent, 0, sizeof sent);
        kill(remote.pid, SIGSTOP);
        for (; pending < 500; all++) {
            assert_true(all < MESSAGES_MAX);
            int status = net_send(stopped, header, sizeof header, &bulk, 1, 0, &sent[pending]);
            assert_true(status == 0 || status == -EINPROGRESS);
            pending += status == -EINPROGRESS;
        }
        for (unsigned i = 0; i < 100; i++) {
            unsigned heard = other.messages;
            assert_int_equal(send_and_wait(to_other, header, sizeof header, NULL, 0, 0), 0);
            until(other.messages == heard + 1);
        }
        assert_false(sent[0].fired);
        if (round == 0) {
            kill(remote.pid, SIGCONT);
            until(left.messages == before + all);
            for (unsigned i = 0; i < pending; i++)
                assert_true(sent[i].fired && sent[i].status == 0);
        } else {
            uint64_t start = loop_now(loop);
            net_close(stopped);
            assert_true(loop_now(loop) - start < 100 * NSEC_PER_MSEC);
            for (unsigned i = 0; i < pending; i++)
                assert_true(sent[i].fired && sent[i].status == -ECONNRESET);
        }
    }
    remote_kill(&remote);
    net_destroy(left.net);
    net_destroy(other.net);
}

/* A stopped sender that was asked for bulk never sends it: closing our connection to it ends the wait. */
static void a_transfer_from_a_stopped_peer_ends_with_the_connection(void **state)
{
    (void)state;
    options.without_fetch = true;
    struct remote remote = remote_start('s');
    party_open(&left, loop);
    left.intake = HOLD;
    remote_connect(&remote, &left);
    until(left.messages == 1);
    kill(remote.pid, SIGSTOP);
    uint8_t *into = malloc(1 << 20);
    struct iovec vector = {into, 1 << 20};
    left.received = COMPLETION_INIT;
    assert_int_equal(net_receive(&left.held, &vector, 1, &left.received), -EINPROGRESS);
    for (int i = 0; i < 1000; i++)
        loop_poll(loop);
    assert_false(left.received.fired);
    net_close(left.connection);
    assert_true(left.received.fired);
    assert_int_equal(left.received.status, -ECONNRESET);
    net_release(&left.held);
    free(into);
    remote_kill(&remote);
    net_destroy(left.net);
    options.without_fetch = false;
}

/* Both sides sleep whenever they have nothing to do: a wake-up that were lost would stop everything. */
static void no_wake_up_is_lost(void **state)
{
    (void)state;
    struct remote remote = remote_start('b');
    party_open(&left, loop);
    remote_connect(&remote, &left);
    static uint8_t header[64], bytes[20000];
    struct iovec bulk = {bytes, sizeof bytes};
    struct loop_statistics statistics = {0};
    uint32_t random = 1;
    /* On a busy machine it sleeps less often, for then it leaves its processor to others at once. */
    for (unsigned i = 0; i < 4000 || (statistics.blocks <= 100 && i < 400000); i++) {
        random = random * 1664525 + 1013904223;
        left.arrival = COMPLETION_INIT;
        left.wanted = left.messages + 1;
        for (unsigned j = random >> 20; j > 0; j--)
            __asm__ volatile("");
        bool large = i % 8 == 0;
        assert_int_equal(send_and_wait(left.connection, header, sizeof header, &bulk, large, 0), 0);
        assert_int_equal(await_until(loop, &left.arrival, loop_now(loop) + PATIENCE), 0);
        loop_statistics(loop, &statistics);
    }
    assert_true(statistics.blocks > 100);
    remote_kill(&remote);
    net_destroy(left.net);
}

static void fetching_from_a_dead_sender_fails(void **state)
{
    (void)state;
    struct remote remote = remote_start('s');
    party_open(&left, loop);
    left.intake = HOLD;
    remote_connect(&remote, &left);
    until(left.messages == 1);
    assert_int_equal(left.bulk_length, 1 << 20);
    assert_false(left.bulk_here);
    remote_kill(&remote);
    uint8_t *into = malloc(1 << 20);
    struct iovec vector = {into, 1 << 20};
    left.received = COMPLETION_INIT;
    int status = net_receive(&left.held, &vector, 1, &left.received);
    if (status == -EINPROGRESS)
        status = await_until(loop, &left.received, loop_now(loop) + PATIENCE);
    net_release(&left.held);
    assert_int_not_equal(status, 0);
    assert_int_not_equal(status, -ETIMEDOUT);
    net_destroy(left.net);
    free(into);
}

static void connecting_to_a_dead_process_fails(void **state)
{
    (void)state;
    struct remote remote = remote_start('e');
    party_open(&left, loop);
    uint8_t address[4096];
    uint32_t length;
    assert_int_equal(read(remote.socket, &length, sizeof length), sizeof length);
    assert_int_equal(recv(remote.socket, address, length, MSG_WAITALL), length);
    remote_kill(&remote);
    assert_int_equal(net_connect(left.net, address, length, &left.connection), -ECONNRESET);
    net_destroy(left.net);
}

/* ---- strangers ---- */

static struct shm_outbound *outbound_of(struct net_connection *connection)
{
    return container_of(connection, struct shm_outbound, base);
}

/* Whatever stands in a ring costs its connection at most, and is never more than a message to others. */
static void garbage_in_a_ring_costs_its_writer_the_connection(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 1);
    right.intake = TAKE_AT_ONCE;
    for (unsigned i = 0; i < 300; i++) {
        struct net_connection *garbled;
        assert_int_equal(net_connect(left.net, right.net->address, right.net->address_length, &garbled), 0);
        until(shm_of(right.net)->inbound_count == 2);
        struct shm_segment *segment = outbound_of(garbled)->segment;
        for (size_t at = 0; at < SHM_RING_BYTES; at += 8) {
            uint64_t word = random_next(&random);
            if (at % SHM_LINE == 0 && i % 2 == 0) /* plausible marks, lies behind them */
                word = shm_mark(1 + word % 4, (uint32_t)(word >> 8) % 64, (uint32_t)(word >> 20) % 40) |
                       (word & UINT64_C(0xffffffff00000000));
            memcpy(segment->ring + at, &word, sizeof word);
        }
        segment->consumed = random_next(&random);
        for (unsigned slot = 0; slot < SHM_SLOTS; slot++)
            segment->slots[slot] = (uint32_t)random_next(&random) % 3;
        until(outbound_of(garbled)->failure == -ECONNRESET);
        net_close(garbled);
        until(shm_of(right.net)->inbound_count == 1);
    }
    exchange(4096, 0, 1, 1, TAKE_AT_ONCE);
    exchange(1 << 20, NET_SEND_RENDEZVOUS, 1, 1, TAKE_AT_ONCE);
}

/* The receiver's words are checked too. */
static void a_receiver_that_lies_gets_nothing_more(void **state)
{
    (void)state;
    struct shm_segment *segment = outbound_of(left.connection)->segment;
    static struct completion sent[MESSAGES_MAX];
    struct iovec bulk = {source, 8000};
    memset(sent, 0, sizeof sent);
    segment->consumed = UINT64_MAX;
    unsigned pending = 0;
    for (unsigned i = 0; i < 64; i++)
        pending += net_send(left.connection, "header", 6, &bulk, 1, 0, &sent[pending]) == -EINPROGRESS;
    assert_true(pending > 50);
    struct reactor *reactor = &shm_of(left.net)->reactor;
    until(reactor->arm(reactor) == 0); /* nor keeps us awake */
    net_close(left.connection);
    for (unsigned i = 0; i < pending; i++)
        assert_int_equal(sent[i].status, -ECONNRESET);
}

static int stranger_connect(void)
{
    uint8_t name[SHM_NAME_BYTES], cookie[SHM_NAME_BYTES] = {0};
    assert_int_equal(shm_address_read(right.net->address, right.net->address_length, name, cookie), 0);
    memset(cookie, 0x55, sizeof cookie);
    int fd = memfd_create("stranger", MFD_ALLOW_SEALING);
    int socket = shm_socket_connect(shm_of(left.net), name, cookie, fd);
    close(fd);
    assert_true(socket >= 0);
    return socket;
}

static void strangers_are_refused(void **state)
{
    (void)state;
    int socket = stranger_connect();
    until(shm_socket_open(socket) == false); /* the wrong secret */
    close(socket);

    /* The right secret, but memory that its owner could take away under our hands, or of another size. */
    for (unsigned i = 0; i < 3; i++) {
        uint8_t name[SHM_NAME_BYTES], cookie[SHM_NAME_BYTES];
        assert_int_equal(shm_address_read(right.net->address, right.net->address_length, name, cookie), 0);
        int fd = memfd_create("stranger", MFD_ALLOW_SEALING);
        assert_int_equal(ftruncate(fd, i == 0 ? 4096 : sizeof(struct shm_segment)), 0);
        if (i != 1)
            assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
        socket = shm_socket_connect(shm_of(left.net), name, cookie, fd);
        assert_true(socket >= 0);
        until(shm_socket_open(socket) == false);
        close(socket);
        close(fd);
    }

    /* Whoever says nothing at all keeps others out no longer than it stays. */
    until(shm_of(right.net)->inbound_count == 1);
    exchange(4096, 0, 1, 1, TAKE_AT_ONCE);
}

/* However many say nothing, others get in. */
static void silent_strangers_keep_nobody_out(void **state)
{
    enum { STRANGERS = 300 };
    (void)state;
    int sockets[STRANGERS];
    uint8_t name[SHM_NAME_BYTES], cookie[SHM_NAME_BYTES];
    assert_int_equal(shm_address_read(right.net->address, right.net->address_length, name, cookie), 0);
    exchange(4096, 0, 1, 1, TAKE_AT_ONCE);
    for (unsigned i = 0; i < STRANGERS; i++) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int length = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "benchfs");
        for (unsigned at = 0; at < SHM_NAME_BYTES; at++)
            length += snprintf(address.sun_path + 1 + length, sizeof address.sun_path - 1 - (size_t)length,
                               "%02x", name[at]);
        sockets[i] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(sockets[i], (struct sockaddr *)&address,
                                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)),
                         0);
        until(!shm_socket_open(sockets[0]) || shm_of(right.net)->inbound_count == i + 2);
    }
    struct net_connection *another;
    assert_int_equal(net_connect(left.net, right.net->address, right.net->address_length, &another), 0);
    unsigned before = right.messages;
    assert_int_equal(send_and_wait(another, "here", 4, NULL, 0, 0), 0);
    until(right.messages == before + 1);
    exchange(4096, 0, 1, 1, TAKE_AT_ONCE); /* and nobody loses what he has */
    net_close(another);
    for (unsigned i = 0; i < STRANGERS; i++)
        close(sockets[i]);
    until(shm_of(right.net)->inbound_count == 1);
}

/* Whatever a receiver writes where it is to answer, we sleep until it makes sense. */
static void nonsense_keeps_nobody_awake(void **state)
{
    (void)state;
    struct reactor *reactor = &shm_of(left.net)->reactor;
    struct shm_outbound *outbound = outbound_of(left.connection);
    struct completion sent = COMPLETION_INIT;
    struct iovec bulk = {source, 1 << 20};
    right.intake = HOLD;
    until(reactor->arm(reactor) == 0);
    assert_int_equal(net_send(left.connection, "bulk", 4, &bulk, 1, NET_SEND_RENDEZVOUS, &sent),
                     -EINPROGRESS);
    until(right.messages == 1);
    assert_int_equal(reactor->arm(reactor), 0);
    for (uint32_t word = 3; word != 0; word *= 3 * 257) {
        atomic_store(&outbound->segment->slots[0], word);
        loop_poll(loop);
        assert_int_equal(reactor->arm(reactor), 0);
        if (word > 1u << 30)
            break;
    }
    atomic_store(&outbound->segment->slots[0], SHM_SLOT_SEND);
    assert_int_equal(reactor->arm(reactor), -EBUSY);
    atomic_store(&outbound->segment->slots[0], SHM_SLOT_BUSY);
    net_release(&right.held);
    until(sent.fired);
    assert_int_equal(sent.status, 0);
}

static void shared_memory_cannot_be_written_by_others(void **state)
{
    (void)state;
    void *memory, *region;
    assert_int_equal(net_memory_allocate(left.net, 1 << 20, &memory, &region), 0);
    int fd = ((struct shm_region *)region)->fd;
    assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    assert_int_not_equal(ftruncate(fd, 0), 0);
    assert_int_equal(write(fd, "x", 1), -1);
    net_memory_free(left.net, region);
}

/* Bulk that lies in memory of the transport's is copied from there, even if nothing else may be read. */
static void bulk_in_shared_memory_is_copied_directly(void **state)
{
    (void)state;
    void *memory, *region;
    uint8_t *usual = source;
    assert_int_equal(net_memory_allocate(left.net, BULK_MAX, &memory, &region), 0);
    memcpy(memory, source, BULK_MAX);
    source = memory;
    for (uint32_t from = 1; from <= 3; from += 2)
        for (uint32_t into = 1; into <= 4; into += 3) {
            exchange(100, NET_SEND_RENDEZVOUS, from, into, TAKE_AT_ONCE);
            exchange(BULK_MAX - 1, NET_SEND_RENDEZVOUS, from, into, HOLD);
        }
    assert_int_equal(outbound_of(left.connection)->announced, 1);
    source = usual;
    net_memory_free(left.net, region);
}

/* ---- many ---- */

/* Written where they leave from: of every length, also where the ring ends, in order with others; and there
 * is no such place for one that would overtake what waits. */
static void messages_written_in_place_arrive(void **state)
{
    (void)state;
    uint8_t space[256];
    right.net->header_space = space;
    right.net->space = sizeof space;
    assert_null(net_room(left.connection, 0));
    assert_null(net_room(left.connection, NET_HEADER_MAX + 1));
    for (uint32_t i = 1; i <= NET_HEADER_MAX; i++) {
        void *room = net_room(left.connection, i);
        assert_non_null(room);
        memcpy(room, source + i, i);
        memset(space, 0, sizeof space);
        net_post(left.connection, i);
        until(right.messages == 2 * i - 1);
        assert_int_equal(right.header_length, i);
        assert_memory_equal(right.header, source + i, i);
        if (i <= sizeof space)
            assert_memory_equal(space, source + i, i);
        assert_int_equal(send_and_wait(left.connection, source, 12, NULL, 0, 0), 0);
        until(right.messages == 2 * i);
    }
    static struct completion sent;
    unsigned posted = 0;
    for (void *room; (room = net_room(left.connection, 60)) != NULL; posted++) {
        memcpy(room, source, 60);
        net_post(left.connection, 60);
    }
    assert_in_range(posted, (SHM_RING_BYTES - SHM_PUBLISH_BYTES) / SHM_LINE - 1, SHM_RING_BYTES / SHM_LINE);
    memset(&sent, 0, sizeof sent);
    assert_int_equal(net_send(left.connection, source + 60, 60, NULL, 0, 0, &sent), -EINPROGRESS);
    assert_null(net_room(left.connection, 1));
    until(sent.fired);
    until(right.messages == 2 * NET_HEADER_MAX + posted + 1);
    assert_memory_equal(right.header, source + 60, 60);
    right.net->header_space = NULL;
    right.net->space = 0;
}

static const _Atomic uint64_t *postscript;
static uint64_t postscript_seen; /* when it was about to go */

static void note_postscript(void *owner, struct net_message *message)
{
    (void)owner;
    postscript = message->postscript;
}

static void read_postscript(void *owner)
{
    (void)owner;
    postscript_seen = *postscript;
}

/* A word that its sender writes behind the message is the one that its receiver was shown, for every place in
 * the ring, until it is told that the memory goes. */
static void a_postscript_follows_its_message(void **state)
{
    (void)state;
    right.net->receiver = note_postscript;
    right.net->forget = read_postscript;
    for (uint64_t i = 0; i < 2 * SHM_LINES; i++) {
        uint32_t length = 1 + (uint32_t)i % 200;
        void *room = net_room(left.connection, length);
        assert_non_null(room);
        memset(room, 1, length);
        _Atomic uint64_t *written = net_post(left.connection, length);
        postscript = NULL;
        until(postscript != NULL);
        *written = i;
        assert_int_equal(*postscript, i);
    }
    net_close(left.connection);
    left.connection = NULL;
    until(postscript_seen != 0);
    assert_int_equal(postscript_seen, 2 * SHM_LINES - 1);
    right.net->forget = NULL;
}

static void a_thousand_connections(void **state)
{
    (void)state;
    enum { CONNECTIONS = 1000 };
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    unsigned count = limit.rlim_max < 3 * CONNECTIONS ? (unsigned)limit.rlim_max / 3 : CONNECTIONS;
    static struct net_connection *connections[CONNECTIONS];
    struct random random;
    random_seed(&random, 2);
    right.intake = IGNORE;
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(
            net_connect(left.net, right.net->address, right.net->address_length, &connections[i]), 0);
        if (i % 64 == 63)
            until(shm_of(right.net)->inbound_count == i + 2);
    }
    for (unsigned i = 0; i < 20000; i++) {
        /* A few talk a lot, the others now and then. */
        unsigned which = i % 4 != 0 ? i % 10 : (unsigned)random_below(&random, count);
        unsigned before = right.messages;
        assert_int_equal(send_and_wait(connections[which], &i, sizeof i, NULL, 0, 0), 0);
        until(right.messages == before + 1);
        assert_memory_equal(right.header, &i, sizeof i);
    }
    for (unsigned i = 0; i < count; i++)
        net_close(connections[i]);
    until(shm_of(right.net)->inbound_count == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(headers_arrive_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(messages_written_in_place_arrive, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_postscript_follows_its_message, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bulk_arrives_by_every_path, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bulk_arrives_by_every_path, set_up_without_fetch, tear_down),
        cmocka_unit_test_setup_teardown(bulk_in_shared_memory_is_copied_directly, set_up_sharing, tear_down),
        cmocka_unit_test_setup_teardown(bulk_in_shared_memory_is_copied_directly, set_up_sharing_alone,
                                        tear_down),
        cmocka_unit_test_setup_teardown(shared_memory_cannot_be_written_by_others, set_up_sharing, tear_down),
        cmocka_unit_test_setup_teardown(unwanted_bulk_is_discarded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(malformed_addresses_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(allocated_memory_is_zeroed_and_carries_bulk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closing_completes_what_is_under_way_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closing_completes_what_is_under_way_once, set_up_without_fetch,
                                        tear_down),
        cmocka_unit_test_setup_teardown(garbage_in_a_ring_costs_its_writer_the_connection, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_receiver_that_lies_gets_nothing_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(strangers_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(silent_strangers_keep_nobody_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nonsense_keeps_nobody_awake, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_thousand_connections, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_process_answers, set_up_loop, tear_down_loop),
        cmocka_unit_test_setup_teardown(a_dead_peer_is_noticed_and_can_be_closed, set_up_loop,
                                        tear_down_loop),
        cmocka_unit_test_setup_teardown(a_stopped_peer_with_a_full_ring_hinders_nobody, set_up_loop,
                                        tear_down_loop),
        cmocka_unit_test_setup_teardown(a_transfer_from_a_stopped_peer_ends_with_the_connection, set_up_loop,
                                        tear_down_loop),
        cmocka_unit_test_setup_teardown(no_wake_up_is_lost, set_up_drowsy_loop, tear_down_loop),
        cmocka_unit_test_setup_teardown(fetching_from_a_dead_sender_fails, set_up_loop, tear_down_loop),
        cmocka_unit_test_setup_teardown(connecting_to_a_dead_process_fails, set_up_loop, tear_down_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
