/* Growable byte buffer, and a bounds-checked reader for bytes from outside.
 *
 * Writing: errors are sticky; check buffer.failed once at the end. Reading: a read past the end sets
 * reader.failed and returns zeros, so a decoder checks once at the end. Integers are little-endian. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer {
    uint8_t *bytes;
    size_t length;
    size_t capacity;
    bool failed; /* an allocation failed; contents are incomplete */
};

void buffer_init(struct buffer *buffer);
void buffer_free(struct buffer *buffer);
void buffer_clear(struct buffer *buffer); /* length 0, keeps memory */
void buffer_append(struct buffer *buffer, const void *bytes, size_t length);
/* Returns space for length bytes at the end, already counted in buffer->length, or NULL (failed is set). */
void *buffer_extend(struct buffer *buffer, size_t length);
void buffer_put_u8(struct buffer *buffer, uint8_t value);
void buffer_put_u16(struct buffer *buffer, uint16_t value);
void buffer_put_u32(struct buffer *buffer, uint32_t value);
void buffer_put_u64(struct buffer *buffer, uint64_t value);
/* u16 length, then the bytes. */
void buffer_put_string(struct buffer *buffer, const char *text);

struct reader {
    const uint8_t *bytes;
    size_t length;
    size_t offset;
    bool failed;
};

void reader_init(struct reader *reader, const void *bytes, size_t length);
uint8_t reader_u8(struct reader *reader);
uint16_t reader_u16(struct reader *reader);
uint32_t reader_u32(struct reader *reader);
uint64_t reader_u64(struct reader *reader);
/* Returns a pointer into the input, or NULL when fewer than length bytes remain. */
const void *reader_bytes(struct reader *reader, size_t length);
/* Copies a u16-length string, NUL-terminated, into text; fails if it has size bytes or more or contains NUL.
 */
void reader_string(struct reader *reader, char *text, size_t size);
