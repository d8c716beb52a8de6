/* libbenchfs_mpi.so: ranks of MPI. It is loaded when there are any (bench/ranks.c), so that the program runs
 * where there is no MPI, and where it is another one than it was built with this is all that has to be built
 * again. Nothing waits in MPI, whose waiting takes a processor: operations are begun and then tested. */
#include <errno.h>
#include <mpi.h>
#include <stddef.h>

#include "bench/ranks_plugin.h"

#define ALARM_TAG 1

__attribute__((visibility("default"))) extern const struct ranks_plugin benchfs_ranks_plugin;

static MPI_Comm all;
static MPI_Request request = MPI_REQUEST_NULL;
static int number, count;
static char alarm_byte;

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

static void finish(void)
{
    bool heard = true;
    while (heard && alarmed(&heard) == 0)
        continue;
    MPI_Finalize();
}

const struct ranks_plugin benchfs_ranks_plugin = {
    .version = RANKS_PLUGIN_VERSION,
    .start = start,
    .begin = begin,
    .test = test,
    .alarm = raise_alarm,
    .alarmed = alarmed,
    .finish = finish,
};
