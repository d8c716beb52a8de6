/* Any bytes as the identity of a store directory: refused, or written again byte by byte. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "journal/identity.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void require(int condition)
{
    if (!condition)
        abort();
}

static void decode(const char *bytes, size_t length)
{
    char again[IDENTITY_BYTES_MAX];
    struct identity identity;
    int status = identity_decode(bytes, length, &identity);
    if (status != 0) {
        require(status == -EBADMSG || status == -EPROTONOSUPPORT);
        return;
    }
    require(strnlen(identity.engine, IDENTITY_ENGINE_MAX) < IDENTITY_ENGINE_MAX);
    require(identity_encode(&identity, again) == length && memcmp(bytes, again, length) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    decode((const char *)bytes, length);
    /* The same with a checksum that fits, which no mutation would find. */
    char fitting[IDENTITY_BYTES_MAX];
    static const char label[] = "checksum ";
    if (length >= sizeof(fitting) - 32)
        return 0;
    memcpy(fitting, bytes, length);
    size_t end = length;
    for (size_t at = 0; at + sizeof(label) - 1 <= length; at++) {
        if (memcmp(bytes + at, label, sizeof(label) - 1) == 0)
            end = at;
    }
    int added = snprintf(fitting + end, sizeof(fitting) - end, "%s%08x\n", label, crc32c(0, fitting, end));
    decode(fitting, end + (size_t)added);
    return 0;
}
