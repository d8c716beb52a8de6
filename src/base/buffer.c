/* Growable byte buffer and bounds-checked reader.
 *
 * Both keep their error inside: an encoder that appends twenty fields, or a decoder that reads twenty, is
 * written without twenty checks and asks once at the end. After the first failure a buffer takes nothing
 * more, so its contents are a prefix of what was meant, and a reader returns zeros and consumes nothing more,
 * so a damaged length cannot lead it astray. Integers are assembled byte by byte, which compilers turn into
 * one load or store on little-endian machines and which needs no alignment. */
#include "base/buffer.h"

#include <stdlib.h>
#include <string.h>

enum { CAPACITY_MINIMUM = 64 };

void buffer_init(struct buffer *buffer)
{
    *buffer = (struct buffer){0};
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->bytes);
    buffer_init(buffer);
}

void buffer_clear(struct buffer *buffer)
{
    buffer->length = 0;
    buffer->failed = false;
}

void *buffer_extend(struct buffer *buffer, size_t length)
{
    if (buffer->failed)
        return NULL;
    if (length > buffer->capacity - buffer->length || buffer->bytes == NULL) {
        size_t needed, capacity;
        if (__builtin_add_overflow(buffer->length, length, &needed) ||
            __builtin_mul_overflow(buffer->capacity, 2, &capacity)) {
            buffer->failed = true;
            return NULL;
        }
        if (capacity < CAPACITY_MINIMUM)
            capacity = CAPACITY_MINIMUM;
        if (capacity < needed)
            capacity = needed;
        uint8_t *bytes = realloc(buffer->bytes, capacity);
        if (bytes == NULL) {
            buffer->failed = true;
            return NULL;
        }
        buffer->bytes = bytes;
        buffer->capacity = capacity;
    }
    void *space = buffer->bytes + buffer->length;
    buffer->length += length;
    return space;
}

void buffer_append(struct buffer *buffer, const void *bytes, size_t length)
{
    void *space = buffer_extend(buffer, length);

    if (space != NULL && length > 0)
        memcpy(space, bytes, length);
}

static void put_integer(struct buffer *buffer, uint64_t value, size_t size)
{
    uint8_t *space = buffer_extend(buffer, size);

    if (space == NULL)
        return;
    for (size_t i = 0; i < size; i++)
        space[i] = (uint8_t)(value >> (8 * i));
}

void buffer_put_u8(struct buffer *buffer, uint8_t value)
{
    put_integer(buffer, value, 1);
}

void buffer_put_u16(struct buffer *buffer, uint16_t value)
{
    put_integer(buffer, value, 2);
}

void buffer_put_u32(struct buffer *buffer, uint32_t value)
{
    put_integer(buffer, value, 4);
}

void buffer_put_u64(struct buffer *buffer, uint64_t value)
{
    put_integer(buffer, value, 8);
}

void buffer_put_string(struct buffer *buffer, const char *text)
{
    size_t length = strlen(text);

    if (length > UINT16_MAX) {
        buffer->failed = true;
        return;
    }
    buffer_put_u16(buffer, (uint16_t)length);
    buffer_append(buffer, text, length);
}

void reader_init(struct reader *reader, const void *bytes, size_t length)
{
    *reader = (struct reader){.bytes = bytes, .length = length};
}

const void *reader_bytes(struct reader *reader, size_t length)
{
    if (reader->failed || length > reader->length - reader->offset) {
        reader->failed = true;
        return NULL;
    }
    const uint8_t *bytes = reader->bytes + reader->offset;
    reader->offset += length;
    return bytes;
}

static uint64_t get_integer(struct reader *reader, size_t size)
{
    const uint8_t *bytes = reader_bytes(reader, size);
    uint64_t value = 0;

    if (bytes == NULL)
        return 0;
    for (size_t i = 0; i < size; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

uint8_t reader_u8(struct reader *reader)
{
    return (uint8_t)get_integer(reader, 1);
}

uint16_t reader_u16(struct reader *reader)
{
    return (uint16_t)get_integer(reader, 2);
}

uint32_t reader_u32(struct reader *reader)
{
    return (uint32_t)get_integer(reader, 4);
}

uint64_t reader_u64(struct reader *reader)
{
    return get_integer(reader, 8);
}

void reader_string(struct reader *reader, char *text, size_t size)
{
    size_t length = reader_u16(reader);
    const char *bytes = reader_bytes(reader, length);

    text[0] = '\0';
    if (bytes == NULL)
        return;
    if (length >= size || memchr(bytes, '\0', length) != NULL) {
        reader->failed = true;
        return;
    }
    memcpy(text, bytes, length);
    text[length] = '\0';
}
