/* Any bytes as a handshake frame: decoded or refused, never beyond the bytes or the struct. */
#include <errno.h>
#include <stdlib.h>

#include "rpc/handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static struct handshake_frame frame;
    int status = handshake_decode(bytes, length, &frame);
    if (status != 0 && status != -EPROTO)
        abort();
    if (status == 0 && frame.type == HANDSHAKE_HELLO && frame.hello.version == RPC_PROTOCOL_VERSION &&
        frame.hello.address_length > length)
        abort();
    if (status == 0 && frame.type == HANDSHAKE_WELCOME && frame.welcome.address_length > length)
        abort();
    return 0;
}
