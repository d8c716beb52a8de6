/* Names, contents and memory of the crash matrix. */
#include "history.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static void *shared_memory(size_t size)
{
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

struct history *history_create(void)
{
    struct history *history = shared_memory(sizeof *history);
    if (history == NULL)
        return NULL;
    history->contents = shared_memory((size_t)CLIENTS * FILES * FILE_MAX);
    for (unsigned client = 0; client < CLIENTS; client++)
        for (unsigned name = 0; name < NAMES; name++)
            history->model[client].names[name] = NONE;
    return history->contents == NULL ? NULL : history;
}

void history_destroy(struct history *history)
{
    munmap(history->contents, (size_t)CLIENTS * FILES * FILE_MAX);
    munmap(history, sizeof *history);
}

unsigned char *history_contents(struct history *history, unsigned client, unsigned file)
{
    return history->contents + ((size_t)client * FILES + file) * FILE_MAX;
}

void history_forget_file(struct history *history, unsigned client, unsigned file)
{
    madvise(history_contents(history, client, file), FILE_MAX, MADV_REMOVE);
    history->model[client].files[file] = (struct file){0};
}

unsigned name_directory(unsigned name)
{
    return name < NAMES_SHARED ? NONE : (name - NAMES_SHARED) / (NAMES_OWN / DIRECTORIES_OWN);
}

bool same_directory(unsigned name, unsigned other)
{
    if (name_directory(name) != name_directory(other))
        return false;
    return name_directory(name) != NONE || name % SHARED_DIRECTORIES == other % SHARED_DIRECTORIES;
}

void directory_path(unsigned client, unsigned directory, char path[64])
{
    snprintf(path, 64, "/d%u/c%us%u", directory % SHARED_DIRECTORIES, client, directory);
}

void parent_path(unsigned client, unsigned name, char path[64])
{
    if (name_directory(name) == NONE)
        snprintf(path, 64, "/d%u", name % SHARED_DIRECTORIES);
    else
        directory_path(client, name_directory(name), path);
}

void name_path(unsigned client, unsigned name, char path[64])
{
    char parent[64];
    parent_path(client, name, parent);
    if (name_directory(name) == NONE)
        snprintf(path, 64, "%.30s/c%un%u", parent, client, name);
    else
        snprintf(path, 64, "%.30s/n%u", parent, name);
}

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    return x * UINT64_C(0x94d049bb133111eb);
}

void contents_fill(unsigned char *bytes, size_t length, uint32_t id, uint32_t version, uint64_t offset)
{
    uint64_t seed = mix((uint64_t)id << 32 | version);
    for (size_t done = 0; done < length;) {
        uint64_t word = mix(seed + (offset + done) / 8 * UINT64_C(0x9e3779b97f4a7c15));
        size_t skip = (offset + done) % 8;
        size_t part = 8 - skip < length - done ? 8 - skip : length - done;
        memcpy(bytes + done, (unsigned char *)&word + skip, part);
        done += part;
    }
}

size_t xattr_value(uint32_t id, uint32_t version, unsigned char *bytes)
{
    size_t length = 1 + mix((uint64_t)version << 32 | id) % (version % 4 == 0 ? XATTR_MAX : 60);
    contents_fill(bytes, length, id, version, 0);
    return length;
}

uint64_t draw(uint64_t *state)
{
    return mix(*state += UINT64_C(0x9e3779b97f4a7c15));
}

uint64_t draw_below(uint64_t *state, uint64_t limit)
{
    return limit == 0 ? 0 : (draw(state) >> 11) % limit;
}
