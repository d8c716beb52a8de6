/* Whole transfers over descriptors that may take or give fewer bytes than asked for. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/* Writes all of it; may block. Returns 0 or -errno: then some of it may have been written. */
int descriptor_write(int descriptor, const void *bytes, size_t length);
/* Reads up to the end of the file or size bytes; may block. Returns how many, or -errno. */
ssize_t descriptor_read(int descriptor, void *bytes, size_t size);
