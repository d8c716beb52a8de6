/* Answers that need no message: the attribute boards of servers on this host (meta/board.h).
 *
 * A client asks a server where its board is when it has put a few questions to it, and maps it once. From
 * then on LOOKUP and GET_ATTRIBUTES begin with a look at the board, under the epoch that the request would
 * carry; a board that is silent costs some 30 ns more. The answer is as good as a reply would be, so
 * everything above goes on as if one had come.
 *
 * Small reading programs open, read and close. An open for reading that the board can answer is entered in
 * memory that this process shows to the servers of its host, and believed if the board still says so then:
 * see meta/holds.h. Which server looks there is known from the reply to GET_BOARD, and only as long as the
 * session lasts in which that came: a server that has counted this process as dead has stopped looking.
 *
 * A board whose owner is gone is dropped, and asked for again once the server has answered something: it is
 * another process then. Who cannot have the board (another host, another user, no such thing) is told so
 * once.
 *
 * A thread that gets all its answers here does not turn its loop, where timers and other connections' events
 * are waiting; so every now and then it does. */
#include "client/core.h"
#include "meta/holds.h"

#define QUESTIONS_BEFORE 8u
#define HITS_PER_TURN 1024u /* some 0.1 ms; a turn takes as long as two or three answers */

static void drop(struct client_board *board)
{
    if (board->memory != NULL)
        net_view_end(board->memory);
    *board = (struct client_board){.asking = board->asking};
}

void client_boards_drop(struct client *client)
{
    for (uint32_t server = 0; client->map != NULL && server < client->map->server_count; server++)
        drop(&client->boards[server]);
    free(client->boards);
    client->boards = NULL;
}

static __attribute__((noinline)) void turn(struct client *client)
{
    if (task_current() == NULL)
        loop_poll(client->loop);
}

/* What the board says, as it is. */
static inline enum board_answer look(struct client *client, const struct operation *operation,
                                     struct client_board *board, uint64_t hash, uint64_t number,
                                     const char *name, uint32_t length, struct attributes *attributes,
                                     uint64_t *stamp)
{
    enum board_answer answer = board_read_stamped(&board->view, hash, number, name, length,
                                                  client->map->epoch, operation->epoch, attributes, stamp);
    if (__builtin_expect(answer == BOARD_SILENT, 0)) {
        metrics_add(client->metrics, METRIC_BOARD_MISSES, 1);
        if (!net_view_alive(board->memory))
            drop(board);
    }
    return answer;
}

/* The board has answered; to be called when that is no more looked at. */
static inline void note_answered(struct client *client)
{
    if (__builtin_expect(++client->board_hits % HITS_PER_TURN == 0, 0))
        turn(client);
}

enum board_answer client_board_ask(struct client *client, const struct operation *operation, uint32_t server,
                                   uint64_t hash, uint64_t number, const char *name, uint32_t length,
                                   struct attributes *attributes)
{
    struct client_board *board = &client->boards[server];
    if (board->view.head == NULL)
        return BOARD_SILENT;
    uint64_t stamp;
    enum board_answer answer = look(client, operation, board, hash, number, name, length, attributes, &stamp);
    if (__builtin_expect(answer != BOARD_SILENT, 1)) {
        metrics_add(client->metrics, METRIC_BOARD_HITS, 1);
        note_answered(client);
    }
    return answer;
}

/* ---- opening ---- */

/* The memory that the instance shows; NULL: this transport shows none, or there is no memory. */
static struct net_shown *show_holds(struct client *client)
{
    struct net_shown *shown = atomic_load(&client->holds->shown), *made;
    if (shown != NULL || net_show(client->net, sizeof(struct holds), NET_SHOWN_BY_PROCESS, &made) != 0)
        return shown;
    if (atomic_compare_exchange_strong(&client->holds->shown, &shown, made))
        return made;
    net_hide(made); /* another thread was first */
    return shown;
}

void client_holds_end(struct client_holds *holds)
{
    struct net_shown *shown = atomic_exchange(&holds->shown, NULL);
    if (shown != NULL)
        net_hide(shown);
}

static struct holds *holds_of(struct client *client)
{
    return atomic_load_explicit(&client->holds->shown, memory_order_acquire)->memory;
}

/* Whether the server still looks at what we hold. */
static bool is_seen(struct client *client, struct client_board *board, uint32_t server)
{
    if (__builtin_expect(board->session != 0 && board->session == rpc_peer_session(client->peers[server]), 1))
        return true;
    if (board->session != 0)
        drop(board); /* a later question has it looked at again */
    return false;
}

enum board_answer client_board_open(struct client *client, const struct operation *operation, uint32_t server,
                                    uint64_t hash, uint64_t directory, const char *name, uint32_t length,
                                    uint32_t access, struct attributes *attributes, struct client_hold *hold)
{
    struct client_board *board = &client->boards[server];
    struct client_hold taken;
    if (board->view.head == NULL || !is_seen(client, board, server))
        return BOARD_SILENT;
    enum board_answer answer =
        look(client, operation, board, hash, directory, name, length, attributes, &taken.stamp);
    if (answer == BOARD_SILENT)
        return answer;
    if (answer == BOARD_MISSING || is_link(attributes->mode)) {
        metrics_add(client->metrics, METRIC_BOARD_HITS, 1);
        note_answered(client);
        return answer;
    }
    if (!S_ISREG(attributes->mode) ||
        client_permits(client, attributes->mode, attributes->uid, attributes->gid, access) != 0)
        return BOARD_SILENT;
    taken.slot = holds_enter(holds_of(client), attributes->inode);
    if (taken.slot == 0)
        return BOARD_SILENT;
    if (board_stamp(&board->view, attributes->inode) == taken.stamp && net_view_alive(board->memory)) {
        *hold = taken;
        metrics_add(client->metrics, METRIC_BOARD_OPENS, 1);
        note_answered(client);
        return BOARD_FOUND;
    }
    client_release(client, attributes->inode, &taken);
    return BOARD_SILENT;
}

bool client_board_leave(struct client *client, uint64_t inode, const struct client_hold *hold)
{
    const struct client_board *board = &client->boards[client_inode_server(client, inode)];
    holds_leave(holds_of(client), hold->slot);
    return board->view.head == NULL || !net_view_alive(board->memory) ||
           board_stamp(&board->view, inode) != hold->stamp;
}

ssize_t client_board_read(struct client *client, uint64_t inode, void *bytes, size_t length, uint64_t offset)
{
    struct client_board *board = &client->boards[client_inode_server(client, inode)];
    if (board->view.head == NULL)
        return -1;
    ssize_t got = board_read_content(&board->view, inode, client->map->epoch, loop_realtime(client->loop),
                                     offset, bytes, length);
    if (got >= 0) {
        metrics_add(client->metrics, METRIC_BOARD_READS, 1);
        note_answered(client);
    }
    return got;
}

/* ---- getting it ---- */

/* Asks the server for its board and maps it, and has it look at what we hold. */
static int fetch(struct client *client, uint32_t server, uint64_t deadline, struct net_view **memory,
                 uint64_t *session)
{
    struct board_request request = {0};
    struct board_reply reply;
    const struct net_shown *holds = show_holds(client);
    if (holds != NULL)
        shown_place_fill(&holds->place, &request.holds);
    struct rpc_call call = {
        .operation = RPC_GET_BOARD,
        .body = &request,
        .body_length = sizeof request,
        .reply = &reply,
        .reply_size = sizeof reply,
        .namespace_epoch = client->namespace_epoch,
        .deadline = deadline,
    };
    int status = rpc_call(client->peers[server], &call);
    client_observe(client, &call);
    if (status < 0)
        return status;
    *session = reply.holds_seen ? rpc_peer_session(client->peers[server]) : 0;
    struct net_place place = shown_place_of(&reply.board);
    return net_view(client->net, &place, memory);
}

void client_board_missed(struct client *client, const struct operation *operation, uint32_t server,
                         int status)
{
    struct client_board *board = &client->boards[server];
    if (__builtin_expect(board->view.head != NULL || board->refused, 1) || board->asking ||
        (status != 0 && status != -ENOENT) || ++board->questions < QUESTIONS_BEFORE)
        return;
    board->asking = true;
    const struct rpc_peer *peer = client->peers[server];
    struct net_view *memory = NULL;
    uint64_t session = 0;
    int fetched = fetch(client, server, operation->deadline, &memory, &session);
    if (server >= client->map->server_count || client->peers[server] != peer) {
        if (fetched == 0)
            net_view_end(memory);
        return; /* the servers are others by now */
    }
    board = &client->boards[server]; /* a new map makes new ones */
    drop(board);
    board->asking = false;
    if (fetched == 0 && board_view_open(memory, &board->view) == 0) {
        board->memory = memory;
        board->session = session;
        return;
    }
    if (fetched == 0)
        net_view_end(memory);
    board->refused = true;
}
