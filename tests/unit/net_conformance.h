/* What every transport does, as tests: two parties on one loop, and one with another process. Included by the
 * test of a transport, which says below how it is made. */
#pragma once

#include "unit/unit.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/net.h"

/* A party as the next test wants it; what the tests want is set by their set-up, and reset. */
static int transport_create(struct loop *loop, struct net **net);
static void transport_reset(void);
/* Whether bulk of that length comes with its message, if the sender leaves it to the transport. */
static bool comes_at_once(size_t length);

#define PATIENCE (5 * NSEC_PER_SEC)

enum { BULK_MAX = 4 << 20, MESSAGES_MAX = 1024 };

/* What the receiving side does with bulk. */
enum intake { IGNORE, TAKE_AT_ONCE, HOLD };

struct party {
    struct loop *loop;
    struct net *net;
    struct net_connection *connection; /* to the other party */
    enum intake intake;
    struct net_message held;
    uint8_t header[NET_HEADER_MAX];
    uint32_t header_length;
    uint64_t bulk_length;
    bool bulk_here;
    uint8_t *into;
    uint32_t into_pieces;
    struct completion received;
    int receive_status;
    unsigned messages;
    struct completion arrival; /* fires when messages reaches wanted */
    unsigned wanted;
};

static struct iovec pieces[8];

/* Cuts memory into uneven pieces. */
static uint32_t cut(void *memory, size_t length, uint32_t count)
{
    uint8_t *next = memory;
    for (uint32_t i = 0; i < count; i++) {
        size_t share = i == count - 1 ? length : length / (count - i + 1) + i;
        pieces[i] = (struct iovec){next, share};
        next += share;
        length -= share;
    }
    return count;
}

static void note_message(void *owner, struct net_message *message)
{
    struct party *party = owner;
    party->messages++;
    memcpy(party->header, message->header, message->header_length);
    party->header_length = message->header_length;
    party->bulk_length = message->bulk_length;
    party->bulk_here = message->bulk_here;
    switch (party->intake) {
    case IGNORE:
        break;
    case TAKE_AT_ONCE:
        party->received = COMPLETION_INIT;
        party->receive_status = net_receive(
            message, pieces, cut(party->into, message->bulk_length, party->into_pieces), &party->received);
        break;
    case HOLD:
        net_hold(message);
        party->held = *message;
        break;
    }
    if (party->messages == party->wanted)
        completion_fire(&party->arrival, 0);
}

static void party_open(struct party *party, struct loop *loop)
{
    memset(party, 0, sizeof *party);
    party->loop = loop;
    party->into_pieces = 1;
    assert_int_equal(transport_create(loop, &party->net), 0);
    party->net->receiver = note_message;
    party->net->owner = party;
}

static struct loop *loop;
static struct party left, right;
static uint8_t *source, *target;

static int set_up(void **state)
{
    (void)state;
    assert_int_equal(loop_create(&(struct loop_options){0}, &loop), 0);
    party_open(&left, loop);
    party_open(&right, loop);
    assert_int_equal(net_connect(left.net, right.net->address, right.net->address_length, &left.connection),
                     0);
    assert_int_equal(net_connect(right.net, left.net->address, left.net->address_length, &right.connection),
                     0);
    source = malloc(BULK_MAX);
    target = calloc(1, BULK_MAX);
    for (size_t i = 0; i < BULK_MAX; i++)
        source[i] = (uint8_t)(i * 31 + i / 509);
    right.into = target;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    transport_reset();
    net_destroy(left.net);
    net_destroy(right.net);
    loop_destroy(loop);
    free(source);
    free(target);
    return 0;
}

/* Turns the loop until the condition holds, for a bounded time. */
#define until(condition)                                                                                     \
    do {                                                                                                     \
        uint64_t end = loop_now(loop) + PATIENCE;                                                            \
        while (!(condition) && loop_now(loop) < end)                                                         \
            loop_poll(loop);                                                                                 \
        assert_true(condition);                                                                              \
    } while (0)

static int send_and_wait(struct net_connection *connection, const void *header, uint32_t length,
                         const struct iovec *bulk, uint32_t count, unsigned flags)
{
    struct completion sent = COMPLETION_INIT;
    int status = net_send(connection, header, length, bulk, count, flags, &sent);
    return status == -EINPROGRESS ? await(loop, &sent) : status;
}

static void headers_arrive_whole(void **state)
{
    (void)state;
    const uint32_t lengths[] = {
        1, 8, 59, 60, 61, 64, 92, 93, 110, 123, 124, 125, 220, 221, 222, 512, NET_HEADER_MAX};
    for (unsigned i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        assert_int_equal(send_and_wait(left.connection, source + i, lengths[i], NULL, 0, 0), 0);
        until(right.messages == i + 1);
        assert_int_equal(right.header_length, lengths[i]);
        assert_memory_equal(right.header, source + i, lengths[i]);
        assert_int_equal(right.bulk_length, 0);
    }
    struct completion sent = COMPLETION_INIT;
    assert_int_equal(net_send(left.connection, source, 0, NULL, 0, 0, &sent), -EINVAL);
    assert_int_equal(net_send(left.connection, source, NET_HEADER_MAX + 1, NULL, 0, 0, &sent), -EINVAL);
}

static void exchange(size_t length, unsigned flags, uint32_t send_pieces, uint32_t receive_pieces,
                     enum intake intake)
{
    unsigned before = right.messages;
    struct completion sent = COMPLETION_INIT;
    memset(target, 0, length + 1);
    right.intake = intake;
    right.into_pieces = receive_pieces;
    struct iovec bulk[8];
    memcpy(bulk, pieces, sizeof bulk);
    cut(source, length, send_pieces);
    memcpy(bulk, pieces, sizeof bulk);
    int status = net_send(left.connection, "twelve bytes", 12, bulk, send_pieces, flags, &sent);
    until(right.messages == before + 1);
    assert_int_equal(right.header_length, 12);
    assert_memory_equal(right.header, "twelve bytes", 12);
    assert_int_equal(right.bulk_length, length);
    assert_int_equal(right.bulk_here, (flags & NET_SEND_RENDEZVOUS) == 0 && comes_at_once(length));
    int received = right.receive_status;
    if (intake == HOLD) {
        /* What was held must survive other traffic. */
        right.intake = IGNORE;
        for (unsigned i = 0; i < 200; i++) {
            assert_int_equal(send_and_wait(left.connection, source + 100, 100, NULL, 0, 0), 0);
        }
        until(right.messages == before + 201);
        right.received = COMPLETION_INIT;
        received = net_receive(&right.held, pieces, cut(target, length, receive_pieces), &right.received);
    }
    if (received == -EINPROGRESS)
        received = await_until(loop, &right.received, loop_now(loop) + PATIENCE);
    assert_int_equal(received, 0);
    if (intake == HOLD)
        net_release(&right.held);
    if (status == -EINPROGRESS)
        status = await_until(loop, &sent, loop_now(loop) + PATIENCE);
    assert_int_equal(status, 0);
    assert_memory_equal(target, source, length);
    assert_int_equal(target[length], 0);
}

static void bulk_arrives_by_every_path(void **state)
{
    (void)state;
    const size_t eager[] = {16, 100, 300, 4096, 8192, 8193, 40000, 200000};
    const size_t rendezvous[] = {100, 4096, 65536, 1 << 20, BULK_MAX - 1};
    for (uint32_t shape = 0; shape < 8; shape++) {
        uint32_t from = (shape & 1) != 0 ? 3 : 1, into = (shape & 2) != 0 ? 4 : 1;
        enum intake intake = (shape & 4) != 0 ? HOLD : TAKE_AT_ONCE;
        for (size_t i = 0; i < sizeof eager / sizeof eager[0]; i++)
            exchange(eager[i], 0, from, into, intake);
        for (size_t i = 0; i < sizeof rendezvous / sizeof rendezvous[0]; i++)
            exchange(rendezvous[i], NET_SEND_RENDEZVOUS, from, into, intake);
    }
}

static void unwanted_bulk_is_discarded(void **state)
{
    (void)state;
    const enum intake intakes[] = {IGNORE, HOLD};
    for (unsigned i = 0; i < 2; i++) {
        right.intake = intakes[i];
        const size_t lengths[] = {64, 4096, 1 << 20};
        for (unsigned j = 0; j < 3; j++)
            for (unsigned flags = 0; flags <= NET_SEND_RENDEZVOUS; flags++) {
                unsigned before = right.messages;
                struct completion sent = COMPLETION_INIT;
                struct iovec bulk = {source, lengths[j]};
                int status = net_send(left.connection, "header", 6, &bulk, 1, flags, &sent);
                until(right.messages == before + 1);
                if (intakes[i] == HOLD) {
                    struct iovec wrong = {target, lengths[j] - 1};
                    assert_int_equal(net_receive(&right.held, &wrong, 1, &right.received), -EINVAL);
                    net_release(&right.held);
                }
                if (status == -EINPROGRESS)
                    status = await_until(loop, &sent, loop_now(loop) + PATIENCE);
                assert_int_equal(status, 0);
            }
    }
}

static void malformed_addresses_are_refused(void **state)
{
    (void)state;
    struct net_connection *connection;
    size_t length = right.net->address_length;
    uint8_t *address = malloc(length);
    for (size_t i = 0; i < length; i++) {
        memcpy(address, right.net->address, length);
        address[i] ^= 0x40;
        assert_int_equal(net_connect(left.net, address, length, &connection), -EINVAL);
        assert_int_equal(net_connect(left.net, right.net->address, i, &connection), -EINVAL);
    }
    free(address);
}

static void allocated_memory_is_zeroed_and_carries_bulk(void **state)
{
    (void)state;
    void *memory, *region;
    assert_int_equal(net_memory_allocate(right.net, 3 << 20, &memory, &region), 0);
    assert_int_equal((uintptr_t)memory % 4096, 0);
    for (size_t i = 0; i < 3 << 20; i += 4096)
        assert_int_equal(((uint8_t *)memory)[i], 0);
    uint8_t *usual = target;
    target = right.into = memory;
    exchange(1 << 20, NET_SEND_RENDEZVOUS, 1, 1, TAKE_AT_ONCE);
    target = right.into = usual;
    net_memory_free(right.net, region);
}

static void closing_completes_what_is_under_way_once(void **state)
{
    (void)state;
    right.intake = HOLD;
    struct completion sent = COMPLETION_INIT;
    struct iovec bulk = {source, 1 << 20};
    assert_int_equal(net_send(left.connection, "header", 6, &bulk, 1, NET_SEND_RENDEZVOUS, &sent),
                     -EINPROGRESS);
    until(right.messages == 1);
    net_close(left.connection);
    assert_true(sent.fired);
    assert_int_equal(sent.status, -ECONNRESET);
    right.received = COMPLETION_INIT;
    struct iovec into = {target, 1 << 20};
    int status = net_receive(&right.held, &into, 1, &right.received);
    if (status == -EINPROGRESS)
        await_until(loop, &right.received, loop_now(loop) + 50 * NSEC_PER_MSEC);
    net_release(&right.held);
    for (int i = 0; i < 1000; i++)
        loop_poll(loop);
}

/* ---- another process ---- */

struct remote {
    pid_t pid;
    int socket;
};

static void answer_drowsily(struct party *party)
{
    for (unsigned answered = 0;; answered++) {
        party->arrival = COMPLETION_INIT;
        party->wanted = answered + 1;
        if (party->messages <= answered && await(loop, &party->arrival) != 0)
            _exit(7);
        if (send_and_wait(party->connection, party->header, party->header_length, NULL, 0, 0) != 0)
            _exit(6);
    }
}

/* A process that connects back, then (behaviour 'e') answers each header with itself, asleep meanwhile
 * (behaviour 'b') or not, or (behaviour 's') sends one rendezvous. */
static void remote_main(int fd, char behaviour)
{
    struct party party;
    uint8_t address[4096];
    uint32_t length;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (loop_create(&(struct loop_options){.spin_ns = behaviour == 'b' ? 1000 : 0}, &loop) != 0)
        _exit(1);
    party_open(&party, loop);
    length = (uint32_t)party.net->address_length;
    if (write(fd, &length, sizeof length) != sizeof length ||
        write(fd, party.net->address, length) != length ||
        read(fd, &length, sizeof length) != sizeof length || read(fd, address, length) != length ||
        net_connect(party.net, address, length, &party.connection) != 0)
        _exit(2);
    static uint8_t bytes[1 << 20];
    struct iovec bulk = {bytes, sizeof bytes};
    struct completion sent = COMPLETION_INIT;
    if (behaviour == 's') {
        if (net_send(party.connection, "fetch", 5, &bulk, 1, NET_SEND_RENDEZVOUS, &sent) != -EINPROGRESS)
            _exit(3);
        if (write(fd, "s", 1) != 1)
            _exit(4);
        for (;;)
            loop_poll(loop);
    }
    if (write(fd, "e", 1) != 1)
        _exit(5);
    if (behaviour == 'b')
        answer_drowsily(&party);
    for (unsigned answered = 0;;) {
        loop_poll(loop);
        for (; answered < party.messages; answered++)
            if (send_and_wait(party.connection, party.header, party.header_length, NULL, 0, 0) != 0)
                _exit(6);
    }
}

static struct remote remote_start(char behaviour)
{
    int sockets[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    struct remote remote = {.pid = fork(), .socket = sockets[0]};
    assert_true(remote.pid >= 0);
    if (remote.pid == 0) {
        close(sockets[0]);
        remote_main(sockets[1], behaviour);
        _exit(9);
    }
    close(sockets[1]);
    return remote;
}

static void remote_connect(const struct remote *remote, struct party *party)
{
    uint8_t address[4096];
    uint32_t length;
    assert_int_equal(read(remote->socket, &length, sizeof length), sizeof length);
    assert_true(length <= sizeof address);
    assert_int_equal(recv(remote->socket, address, length, MSG_WAITALL), length);
    assert_int_equal(net_connect(party->net, address, length, &party->connection), 0);
    length = (uint32_t)party->net->address_length;
    assert_int_equal(write(remote->socket, &length, sizeof length), sizeof length);
    assert_int_equal(write(remote->socket, party->net->address, length), length);
    char ready;
    for (;;) {
        ssize_t got = recv(remote->socket, &ready, 1, MSG_DONTWAIT);
        if (got == 1)
            break;
        assert_true(got < 0 && errno == EAGAIN);
        loop_poll(loop);
    }
}

static void remote_kill(const struct remote *remote)
{
    kill(remote->pid, SIGKILL);
    waitpid(remote->pid, NULL, 0);
    close(remote->socket);
}

static int set_up_loop(void **state)
{
    (void)state;
    assert_int_equal(loop_create(&(struct loop_options){0}, &loop), 0);
    return 0;
}

static int tear_down_loop(void **state)
{
    (void)state;
    loop_destroy(loop);
    return 0;
}

static void another_process_answers(void **state)
{
    (void)state;
    struct remote remote = remote_start('e');
    party_open(&left, loop);
    remote_connect(&remote, &left);
    for (unsigned i = 0; i < 100; i++) {
        uint8_t header[64] = {(uint8_t)i, 1, 2, 3};
        assert_int_equal(send_and_wait(left.connection, header, sizeof header, NULL, 0, 0), 0);
        until(left.messages == i + 1);
        assert_memory_equal(left.header, header, sizeof header);
    }
    remote_kill(&remote);
    net_destroy(left.net);
}
