/* libbenchfs_mpi.so: ranks of MPI. It is loaded when there are any (bench/ranks.c), so that the program runs
 * where there is no MPI, and where it is another one than it was built with this is all that has to be built
 * again. Nothing waits in MPI, whose waiting takes a processor: operations are begun and then tested. */
#include <errno.h>
#include <mpi.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "bench/ranks_plugin.h"

#define ALARM_TAG 1
#define TELL_TAG 2
#define LETTERS 8
#define LETTER_WORDS 256u /* 2 KiB: goes out without the receiver's help */

__attribute__((visibility("default"))) extern const struct ranks_plugin benchfs_ranks_plugin;

static MPI_Comm all;
static MPI_Request request = MPI_REQUEST_NULL;
static int number, count;
static char alarm_byte;

/* What was told and may still be on its way. */
static struct letter {
    MPI_Request *sent; /* to each other rank; NULL: never used */
    uint64_t words[LETTER_WORDS];
} letters[LETTERS];

static int result(int error)
{
    return error == MPI_SUCCESS ? 0 : -EIO;
}

static int start(uint32_t *own_number, uint32_t *rank_count, uint32_t *here)
{
    MPI_Comm host;
    int together = 0;
    int error = MPI_Init(NULL, NULL);
    if (error == MPI_SUCCESS)
        error = MPI_Comm_dup(MPI_COMM_WORLD, &all);
    if (error == MPI_SUCCESS)
        error = MPI_Comm_rank(all, &number);
    if (error == MPI_SUCCESS)
        error = MPI_Comm_size(all, &count);
    if (error == MPI_SUCCESS)
        error = MPI_Comm_split_type(all, MPI_COMM_TYPE_SHARED, number, MPI_INFO_NULL, &host);
    if (error == MPI_SUCCESS)
        error = MPI_Comm_size(host, &together);
    if (error == MPI_SUCCESS)
        MPI_Comm_free(&host);
    *own_number = (uint32_t)number;
    *rank_count = (uint32_t)count;
    *here = (uint32_t)together;
    return result(error);
}

static int begin(enum ranks_operation operation, uint64_t *values, uint32_t value_count)
{
    if (operation == RANKS_BROADCAST)
        return result(MPI_Ibcast(values, (int)value_count, MPI_UINT64_T, 0, all, &request));
    return result(MPI_Iallreduce(MPI_IN_PLACE, values, (int)value_count, MPI_UINT64_T,
                                 operation == RANKS_SUM ? MPI_SUM : MPI_MAX, all, &request));
}

static int test(bool *done)
{
    int flag = 0;
    int error = MPI_Test(&request, &flag, MPI_STATUS_IGNORE);
    *done = flag != 0;
    return result(error);
}

static int raise_alarm(void)
{
    int error = MPI_SUCCESS;
    for (int rank = 0; rank < count && error == MPI_SUCCESS; rank++) {
        MPI_Request sent;
        if (rank == number)
            continue;
        error = MPI_Isend(&alarm_byte, 1, MPI_BYTE, rank, ALARM_TAG, all, &sent);
        if (error == MPI_SUCCESS)
            error = MPI_Request_free(&sent); /* a byte: it goes with the first attempt */
    }
    return result(error);
}

static int alarmed(bool *heard)
{
    char byte;
    int there = 0;
    int error = MPI_Iprobe(MPI_ANY_SOURCE, ALARM_TAG, all, &there, MPI_STATUS_IGNORE);
    if (error == MPI_SUCCESS && there)
        error = MPI_Recv(&byte, 1, MPI_BYTE, MPI_ANY_SOURCE, ALARM_TAG, all, MPI_STATUS_IGNORE);
    *heard = there != 0;
    return result(error);
}

/* Whether it has arrived everywhere, or was never sent. */
static bool is_free(struct letter *letter)
{
    int all_sent = 1;
    return letter->sent == NULL ||
           (MPI_Testall(count - 1, letter->sent, &all_sent, MPI_STATUSES_IGNORE) == MPI_SUCCESS && all_sent);
}

static int tell(const uint64_t *values, uint32_t value_count)
{
    struct letter *letter = letters;
    int error = MPI_SUCCESS;
    while (letter < letters + LETTERS && !is_free(letter))
        letter++;
    if (letter == letters + LETTERS)
        return -EAGAIN;
    if (letter->sent == NULL) {
        letter->sent = malloc((size_t)count * sizeof(*letter->sent));
        for (int i = 0; letter->sent != NULL && i < count; i++)
            letter->sent[i] = MPI_REQUEST_NULL;
    }
    if (letter->sent == NULL || value_count > LETTER_WORDS)
        return -EIO;
    memcpy(letter->words, values, value_count * sizeof(*values));
    for (int rank = 0, next = 0; rank < count && error == MPI_SUCCESS; rank++) {
        if (rank != number)
            error = MPI_Isend(letter->words, (int)value_count, MPI_UINT64_T, rank, TELL_TAG, all,
                              &letter->sent[next++]);
    }
    return result(error);
}

static int hear(uint64_t *values, uint32_t room, uint32_t *value_count)
{
    MPI_Status status;
    int there = 0, words = 0;
    int error = MPI_Iprobe(MPI_ANY_SOURCE, TELL_TAG, all, &there, &status);
    *value_count = 0;
    if (error != MPI_SUCCESS || !there)
        return result(error);
    error = MPI_Recv(values, (int)room, MPI_UINT64_T, status.MPI_SOURCE, TELL_TAG, all, &status);
    if (error == MPI_SUCCESS)
        error = MPI_Get_count(&status, MPI_UINT64_T, &words);
    *value_count = (uint32_t)words;
    return result(error);
}

/* What nobody has heard is not wanted any more; it has left, so nobody waits for it. */
static void finish(void)
{
    uint64_t words[LETTER_WORDS];
    uint32_t words_heard = 1;
    bool heard = true;
    while (heard && alarmed(&heard) == 0)
        continue;
    while (words_heard > 0 && hear(words, LETTER_WORDS, &words_heard) == 0)
        continue;
    for (int i = 0; i < LETTERS; i++) {
        for (int k = 0; letters[i].sent != NULL && k < count - 1; k++) {
            if (!is_free(&letters[i]) && letters[i].sent[k] != MPI_REQUEST_NULL)
                MPI_Request_free(&letters[i].sent[k]);
        }
        free(letters[i].sent);
    }
    MPI_Finalize();
}

const struct ranks_plugin benchfs_ranks_plugin = {
    .version = RANKS_PLUGIN_VERSION,
    .start = start,
    .begin = begin,
    .test = test,
    .alarm = raise_alarm,
    .alarmed = alarmed,
    .tell = tell,
    .hear = hear,
    .finish = finish,
};
