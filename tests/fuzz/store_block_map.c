/* Any bytes as the record of a chunk: refused, or a map whose pages lie on the device and that survives
 * encoding. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/block_map.h"

#define PAGES 5000u

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void require(int condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct block_map map = {0}, again = {0};
    uint32_t chunk_length, same_length;
    int status = block_record_decode(bytes, length, PAGES, &map, &chunk_length);
    if (status != 0) {
        require(status == -EBADMSG || status == -ENOMEM);
        require(map.blocks == NULL && map.count == 0);
        return 0;
    }
    require(map.count <= BLOCK_MAP_MAX && map.held <= map.count);
    for (uint32_t at = 0; at < map.count; at++)
        require(map.blocks[at].page < PAGES || map.blocks[at].page >= BLOCK_RESERVED);
    size_t size = block_record_size(&map);
    void *record = malloc(size);
    require(record != NULL);
    block_record_encode(&map, chunk_length, record);
    require(block_record_decode(record, size, PAGES, &again, &same_length) == 0);
    require(same_length == chunk_length && again.count == map.count && again.held == map.held);
    if (map.count > 0)
        require(memcmp(map.blocks, again.blocks, map.count * sizeof(*map.blocks)) == 0);
    free(record);
    block_map_free(&map);
    block_map_free(&again);
    return 0;
}
