/* Answers that need no message: the attribute boards of servers on this host (meta/board.h).
 *
 * A client asks a server where its board is when it has put a few questions to it, and maps it once. From
 * then on LOOKUP and GET_ATTRIBUTES begin with a look at the board, under the epoch that the request would
 * carry; a board that is silent costs some 30 ns more. The answer is as good as a reply would be, so
 * everything above goes on as if one had come.
 *
 * A board whose owner is gone is dropped, and asked for again once the server has answered something: it is
 * another process then. Who cannot have the board (another host, another user, no such thing) is told so
 * once.
 *
 * A thread that gets all its answers here does not turn its loop, where timers and other connections' events
 * are waiting; so every now and then it does. */
#include "client/core.h"

#define QUESTIONS_BEFORE 8u
#define HITS_PER_TURN 256u

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

enum board_answer client_board_ask(struct client *client, const struct operation *operation, uint32_t server,
                                   uint64_t hash, uint64_t number, const char *name, uint32_t length,
                                   struct attributes *attributes)
{
    struct client_board *board = &client->boards[server];
    if (board->view.head == NULL)
        return BOARD_SILENT;
    enum board_answer answer = board_read(&board->view, hash, number, name, length, client->map->epoch,
                                          operation->epoch, attributes);
    if (__builtin_expect(answer == BOARD_SILENT, 0)) {
        metrics_add(client->metrics, METRIC_BOARD_MISSES, 1);
        if (!net_view_alive(board->memory))
            drop(board);
        return answer;
    }
    metrics_add(client->metrics, METRIC_BOARD_HITS, 1);
    if (__builtin_expect(++client->board_hits % HITS_PER_TURN == 0, 0))
        turn(client);
    return answer;
}

/* Asks the server for its board and maps it. */
static int fetch(struct client *client, uint32_t server, uint64_t deadline, struct net_view **memory)
{
    struct board_reply reply;
    struct rpc_call call = {
        .operation = RPC_GET_BOARD,
        .reply = &reply,
        .reply_size = sizeof reply,
        .namespace_epoch = client->namespace_epoch,
        .deadline = deadline,
    };
    int status = rpc_call(client->peers[server], &call);
    client_observe(client, &call);
    if (status < 0)
        return status;
    struct net_place place = {
        .length = reply.length, .process = reply.process, .descriptor = reply.descriptor};
    memcpy(place.id, reply.id, sizeof place.id);
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
    int fetched = fetch(client, server, operation->deadline, &memory);
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
        return;
    }
    if (fetched == 0)
        net_view_end(memory);
    board->refused = true;
}
