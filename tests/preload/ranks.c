/* MPI ranks that write blocks of one file in turn, by pwrite and by MPI-IO, and read one another's. */
#include <fcntl.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 100000, ROUNDS = 10 };

static int rank, size;
static char block[BLOCK], other[BLOCK];

static void fail(const char *what)
{
    fprintf(stderr, "rank %d: %s\n", rank, what);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

static void fill(int index)
{
    memset(block, 'a' + index % 26, BLOCK);
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (rank == 0)
        close(open(argv[1], O_CREAT | O_TRUNC | O_WRONLY, 0644));
    MPI_Barrier(MPI_COMM_WORLD);
    int fd = open(argv[1], O_RDWR);
    if (fd < 0)
        fail("open");
    for (int round = 0; round < ROUNDS; round++) {
        int index = round * size + rank;
        fill(index);
        if (pwrite(fd, block, BLOCK, (off_t)index * BLOCK) != BLOCK)
            fail("pwrite");
    }
    MPI_Barrier(MPI_COMM_WORLD);
    for (int index = 0; index < ROUNDS * size; index++) {
        fill(index);
        if (pread(fd, other, BLOCK, (off_t)index * BLOCK) != BLOCK || memcmp(block, other, BLOCK) != 0)
            fail("wrong data");
    }
    MPI_File file;
    MPI_Status status;
    if (MPI_File_open(MPI_COMM_WORLD, argv[2], MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL, &file) !=
        MPI_SUCCESS)
        fail("MPI_File_open");
    fill(rank);
    if (MPI_File_write_at_all(file, (MPI_Offset)rank * BLOCK, block, BLOCK, MPI_BYTE, &status) != MPI_SUCCESS)
        fail("MPI_File_write_at_all");
    MPI_Barrier(MPI_COMM_WORLD);
    fill((rank + 1) % size);
    if (MPI_File_read_at(file, (MPI_Offset)((rank + 1) % size) * BLOCK, other, BLOCK, MPI_BYTE, &status) !=
            MPI_SUCCESS ||
        memcmp(block, other, BLOCK) != 0)
        fail("wrong data by MPI-IO");
    MPI_File_close(&file);
    MPI_Finalize();
    return 0;
}
