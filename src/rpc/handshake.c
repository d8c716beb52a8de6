/* The bootstrap handshake: frames, macs, and the two sides' scripts.
 *
 * Each side keeps one running BLAKE2b state, keyed with the cluster key, over all frames in the order in
 * which they crossed the wire. A mac is a copy of that state finished with the label of the side that makes
 * it. So a mac proves knowledge of the key and agreement on everything said so far, and the labels keep one
 * side's proof from being played back as the other's. Macs are compared in constant time.
 *
 * Whoever connects may send anything. A frame is read only after its length was found small, decoded by one
 * function that is also the fuzz target, and everything happens before one deadline; the caller bounds how
 * many handshakes are under way. A refusal says why, since the commonest reasons - another key, another
 * version - are a user's mistakes; it tells an attacker nothing that the closing of the stream would not.
 *
 * The nonces are 32 bytes from the kernel. Under the simulator they come from the loop's generator: the keys
 * there protect nothing, and a run must be repeatable. */
#include "rpc/handshake.h"

#include <errno.h>
#include <sodium.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/log.h"
#include "base/random.h"

static const uint8_t magic[4] = {'B', 'F', 'S', '1'};
static const char client_label[] = "benchfs client";
static const char server_label[] = "benchfs server";

/* One side of one handshake. */
struct handshake {
    struct net_stream *stream;
    uint64_t deadline;
    crypto_generichash_state transcript;
    struct buffer out;
    struct handshake_frame frame; /* the last one received */
    uint32_t length;              /* of it, encoded */
    uint8_t bytes[HANDSHAKE_FRAME_MAX];
};

void handshake_random(struct loop *loop, void *bytes, size_t length)
{
    if (!loop_simulated(loop)) {
        random_secure(bytes, length);
        return;
    }
    uint8_t *next = bytes;
    for (size_t i = 0; i < length; i++)
        next[i] = (uint8_t)random_next(loop_random(loop));
}

uint64_t handshake_token(const uint8_t secret[CLUSTER_KEY_BYTES], uint32_t slot, uint32_t generation)
{
    uint8_t hash[crypto_generichash_BYTES_MIN];
    const uint32_t identity[2] = {slot, generation};
    uint64_t token;
    crypto_generichash(hash, sizeof(hash), (const uint8_t *)identity, sizeof(identity), secret,
                       CLUSTER_KEY_BYTES);
    memcpy(&token, hash, sizeof(token));
    return token;
}

/* ---- decoding ---- */

static void decode_address(struct reader *reader, uint8_t *address, uint16_t *length)
{
    *length = reader_u16(reader);
    const void *bytes = *length > HANDSHAKE_ADDRESS_MAX ? NULL : reader_bytes(reader, *length);
    if (bytes == NULL)
        reader->failed = true;
    else
        memcpy(address, bytes, *length);
}

static void decode_bytes(struct reader *reader, void *to, size_t length)
{
    const void *bytes = reader_bytes(reader, length);
    if (bytes != NULL)
        memcpy(to, bytes, length);
}

static bool decode_flag(struct reader *reader)
{
    uint8_t value = reader_u8(reader);
    if (value > 1)
        reader->failed = true;
    return value == 1;
}

static void decode_hello(struct reader *reader, struct handshake_hello *hello)
{
    const void *start = reader_bytes(reader, sizeof(magic));
    if (start == NULL || memcmp(start, magic, sizeof(magic)) != 0)
        reader->failed = true;
    hello->version = reader_u16(reader);
    if (reader->failed)
        return;
    if (hello->version != RPC_PROTOCOL_VERSION) {
        reader->offset = reader->length;
        return;
    }
    hello->role = decode_flag(reader) ? HANDSHAKE_ROLE_SERVER : HANDSHAKE_ROLE_CLIENT;
    hello->resume = decode_flag(reader);
    hello->server = reader_u32(reader);
    hello->uid = reader_u32(reader);
    hello->instance = reader_u64(reader);
    hello->session = reader_u32(reader);
    hello->token = reader_u64(reader);
    decode_bytes(reader, hello->nonce, sizeof(hello->nonce));
    decode_address(reader, hello->address, &hello->address_length);
}

static void decode_welcome(struct reader *reader, struct handshake_welcome *welcome)
{
    welcome->resumed = decode_flag(reader);
    welcome->session = reader_u32(reader);
    welcome->server = reader_u32(reader);
    welcome->token = reader_u64(reader);
    decode_address(reader, welcome->address, &welcome->address_length);
}

int handshake_decode(const void *bytes, size_t length, struct handshake_frame *frame)
{
    struct reader reader;
    reader_init(&reader, bytes, length);
    frame->type = reader_u8(&reader);
    switch (frame->type) {
    case HANDSHAKE_HELLO:
        decode_hello(&reader, &frame->hello);
        break;
    case HANDSHAKE_CHALLENGE:
        frame->challenge.version = reader_u16(&reader);
        decode_bytes(&reader, frame->challenge.nonce, sizeof(frame->challenge.nonce));
        break;
    case HANDSHAKE_PROOF:
        decode_bytes(&reader, frame->proof, sizeof(frame->proof));
        break;
    case HANDSHAKE_WELCOME:
        decode_welcome(&reader, &frame->welcome);
        decode_bytes(&reader, frame->welcome_mac, sizeof(frame->welcome_mac));
        break;
    case HANDSHAKE_REFUSED:
        frame->refused.reason = reader_u16(&reader);
        frame->refused.version = reader_u16(&reader);
        break;
    default:
        return -EPROTO;
    }
    return reader.failed || reader.offset != length ? -EPROTO : 0;
}

/* ---- encoding ---- */

static void frame_begin(struct handshake *handshake, enum handshake_type type)
{
    buffer_clear(&handshake->out);
    buffer_put_u32(&handshake->out, 0); /* length: frame_send fills it in */
    buffer_put_u8(&handshake->out, (uint8_t)type);
}

static void put_address(struct buffer *out, const uint8_t *address, uint16_t length)
{
    buffer_put_u16(out, length);
    buffer_append(out, address, length);
}

static void put_hello(struct buffer *out, const struct handshake_hello *hello)
{
    buffer_append(out, magic, sizeof(magic));
    buffer_put_u16(out, hello->version);
    buffer_put_u8(out, hello->role);
    buffer_put_u8(out, hello->resume);
    buffer_put_u32(out, hello->server);
    buffer_put_u32(out, hello->uid);
    buffer_put_u64(out, hello->instance);
    buffer_put_u32(out, hello->session);
    buffer_put_u64(out, hello->token);
    buffer_append(out, hello->nonce, sizeof(hello->nonce));
    put_address(out, hello->address, hello->address_length);
}

static void put_welcome(struct buffer *out, const struct handshake_welcome *welcome)
{
    buffer_put_u8(out, welcome->resumed);
    buffer_put_u32(out, welcome->session);
    buffer_put_u32(out, welcome->server);
    buffer_put_u64(out, welcome->token);
    put_address(out, welcome->address, welcome->address_length);
}

/* ---- moving frames ---- */

static int frame_send(struct handshake *handshake)
{
    struct buffer *out = &handshake->out;
    if (out->failed)
        return -ENOMEM;
    uint32_t length = (uint32_t)(out->length - HANDSHAKE_FRAME_HEADER);
    for (unsigned i = 0; i < HANDSHAKE_FRAME_HEADER; i++)
        out->bytes[i] = (uint8_t)(length >> (8 * i));
    crypto_generichash_update(&handshake->transcript, out->bytes, out->length);
    return net_stream_write(handshake->stream, out->bytes, out->length, handshake->deadline);
}

static void transcript_add_received(struct handshake *handshake)
{
    struct buffer *out = &handshake->out;
    buffer_clear(out);
    buffer_put_u32(out, handshake->length);
    if (!out->failed)
        crypto_generichash_update(&handshake->transcript, out->bytes, out->length);
    crypto_generichash_update(&handshake->transcript, handshake->bytes, handshake->length);
}

static int refusal_status(const struct handshake_refused *refused)
{
    switch (refused->reason) {
    case HANDSHAKE_BAD_VERSION:
        return -EPROTONOSUPPORT;
    case HANDSHAKE_BAD_KEY:
        return -EACCES;
    case HANDSHAKE_BUSY:
        return -EAGAIN;
    case HANDSHAKE_UNREACHABLE:
        return -EHOSTUNREACH;
    default:
        return -EPROTO;
    }
}

/* Reads the next frame, which must be of the given type. */
static int frame_receive(struct handshake *handshake, enum handshake_type type)
{
    uint8_t prefix[HANDSHAKE_FRAME_HEADER];
    int status = net_stream_read(handshake->stream, prefix, sizeof(prefix), handshake->deadline);
    if (status != 0)
        return status;
    uint32_t length = (uint32_t)prefix[0] | (uint32_t)prefix[1] << 8 | (uint32_t)prefix[2] << 16 |
                      (uint32_t)prefix[3] << 24;
    if (length == 0 || length > sizeof(handshake->bytes))
        return -EPROTO;
    status = net_stream_read(handshake->stream, handshake->bytes, length, handshake->deadline);
    if (status != 0)
        return status;
    handshake->length = length;
    status = handshake_decode(handshake->bytes, length, &handshake->frame);
    if (status != 0)
        return status;
    if (handshake->frame.type == HANDSHAKE_REFUSED)
        return refusal_status(&handshake->frame.refused);
    return handshake->frame.type == type ? 0 : -EPROTO;
}

/* ---- macs ---- */

static void transcript_mac(const struct handshake *handshake, const char *label,
                           uint8_t mac[HANDSHAKE_MAC_BYTES])
{
    crypto_generichash_state state = handshake->transcript;
    crypto_generichash_update(&state, (const uint8_t *)label, strlen(label));
    crypto_generichash_final(&state, mac, HANDSHAKE_MAC_BYTES);
}

static bool mac_equal(const uint8_t *left, const uint8_t *right)
{
    return sodium_memcmp(left, right, HANDSHAKE_MAC_BYTES) == 0;
}

/* The server's mac covers the welcome's fields, which come before it in the same frame: length bytes from
 * type on. */
static void welcome_mac(const struct handshake *handshake, const uint8_t *fields, size_t length,
                        uint8_t mac[HANDSHAKE_MAC_BYTES])
{
    crypto_generichash_state state = handshake->transcript;
    crypto_generichash_update(&state, fields, length);
    crypto_generichash_update(&state, (const uint8_t *)server_label, strlen(server_label));
    crypto_generichash_final(&state, mac, HANDSHAKE_MAC_BYTES);
}

static struct handshake *handshake_begin(struct net_stream *stream, const uint8_t key[CLUSTER_KEY_BYTES],
                                         uint64_t deadline)
{
    /* The hash state wants more alignment than malloc gives. */
    struct handshake *handshake = aligned_alloc(alignof(struct handshake), sizeof(*handshake));
    if (handshake == NULL)
        return NULL;
    handshake->stream = stream;
    handshake->deadline = deadline;
    buffer_init(&handshake->out);
    crypto_generichash_init(&handshake->transcript, key, CLUSTER_KEY_BYTES, HANDSHAKE_MAC_BYTES);
    return handshake;
}

static void handshake_end(struct handshake *handshake)
{
    buffer_free(&handshake->out);
    sodium_memzero(&handshake->transcript, sizeof(handshake->transcript));
    free(handshake);
}

/* ---- the client's side ---- */

static int client_prove(struct handshake *handshake, struct handshake_hello *hello)
{
    hello->version = RPC_PROTOCOL_VERSION;
    handshake_random(handshake->stream->net->loop, hello->nonce, sizeof(hello->nonce));
    frame_begin(handshake, HANDSHAKE_HELLO);
    put_hello(&handshake->out, hello);
    int status = frame_send(handshake);
    if (status == 0)
        status = frame_receive(handshake, HANDSHAKE_CHALLENGE);
    if (status == 0 && handshake->frame.challenge.version != RPC_PROTOCOL_VERSION)
        status = -EPROTONOSUPPORT;
    if (status != 0)
        return status;
    transcript_add_received(handshake);

    uint8_t mac[HANDSHAKE_MAC_BYTES];
    transcript_mac(handshake, client_label, mac);
    frame_begin(handshake, HANDSHAKE_PROOF);
    buffer_append(&handshake->out, mac, sizeof(mac));
    return frame_send(handshake);
}

/* Reads WELCOME and checks that its sender knows the key too. */
static int client_check(struct handshake *handshake, struct handshake_welcome *welcome)
{
    int status = frame_receive(handshake, HANDSHAKE_WELCOME);
    if (status != 0)
        return status;
    uint8_t mac[HANDSHAKE_MAC_BYTES];
    welcome_mac(handshake, handshake->bytes, handshake->length - HANDSHAKE_MAC_BYTES, mac);
    if (!mac_equal(mac, handshake->frame.welcome_mac))
        return -EACCES;
    *welcome = handshake->frame.welcome;
    return 0;
}

int handshake_connect(struct net_stream *stream, const uint8_t key[CLUSTER_KEY_BYTES],
                      struct handshake_hello *hello, uint64_t deadline, struct handshake_welcome *welcome)
{
    struct handshake *handshake = handshake_begin(stream, key, deadline);
    if (handshake == NULL)
        return -ENOMEM;
    int status = client_prove(handshake, hello);
    if (status == 0)
        status = client_check(handshake, welcome);
    handshake_end(handshake);
    return status;
}

/* ---- the server's side ---- */

static void refuse(struct handshake *handshake, enum handshake_reason reason)
{
    frame_begin(handshake, HANDSHAKE_REFUSED);
    buffer_put_u16(&handshake->out, (uint16_t)reason);
    buffer_put_u16(&handshake->out, RPC_PROTOCOL_VERSION);
    frame_send(handshake); /* the stream ends next, whether this arrived or not */
}

static int server_challenge(struct handshake *handshake, struct handshake_hello *hello)
{
    int status = frame_receive(handshake, HANDSHAKE_HELLO);
    if (status != 0)
        return status;
    if (handshake->frame.hello.version != RPC_PROTOCOL_VERSION) {
        log_warning("%s: refused: it speaks protocol version %u, this server version %u",
                    handshake->stream->peer, handshake->frame.hello.version, RPC_PROTOCOL_VERSION);
        return -EPROTONOSUPPORT;
    }
    *hello = handshake->frame.hello;
    transcript_add_received(handshake);

    uint8_t nonce[HANDSHAKE_NONCE_BYTES];
    handshake_random(handshake->stream->net->loop, nonce, sizeof(nonce));
    frame_begin(handshake, HANDSHAKE_CHALLENGE);
    buffer_put_u16(&handshake->out, RPC_PROTOCOL_VERSION);
    buffer_append(&handshake->out, nonce, sizeof(nonce));
    return frame_send(handshake);
}

static int server_verify(struct handshake *handshake)
{
    uint8_t expected[HANDSHAKE_MAC_BYTES];
    transcript_mac(handshake, client_label, expected);
    int status = frame_receive(handshake, HANDSHAKE_PROOF);
    if (status != 0)
        return status;
    if (!mac_equal(expected, handshake->frame.proof)) {
        log_warning("%s: refused: it has another cluster key", handshake->stream->peer);
        return -EACCES;
    }
    transcript_add_received(handshake);
    return 0;
}

static int server_welcome(struct handshake *handshake, const struct handshake_welcome *welcome)
{
    struct buffer *out = &handshake->out;
    frame_begin(handshake, HANDSHAKE_WELCOME);
    put_welcome(out, welcome);
    if (out->failed)
        return -ENOMEM;
    uint8_t mac[HANDSHAKE_MAC_BYTES];
    welcome_mac(handshake, out->bytes + HANDSHAKE_FRAME_HEADER, out->length - HANDSHAKE_FRAME_HEADER, mac);
    buffer_append(out, mac, sizeof(mac));
    return frame_send(handshake);
}

static void server_refuse(struct handshake *handshake, int status)
{
    switch (status) {
    case -EPROTONOSUPPORT:
        refuse(handshake, HANDSHAKE_BAD_VERSION);
        break;
    case -EACCES:
        refuse(handshake, HANDSHAKE_BAD_KEY);
        break;
    case -EPROTO:
    case -EINVAL:
        log_warning("%s: refused: not a BenchFS handshake", handshake->stream->peer);
        refuse(handshake, HANDSHAKE_MALFORMED);
        break;
    case -EAGAIN:
    case -ENOMEM:
        log_warning("%s: refused: no room for another session", handshake->stream->peer);
        refuse(handshake, HANDSHAKE_BUSY);
        break;
    case -EHOSTUNREACH:
        log_warning("%s: refused: no transport leads to it", handshake->stream->peer);
        refuse(handshake, HANDSHAKE_UNREACHABLE);
        break;
    default: /* the stream failed */
        break;
    }
}

int handshake_accept(struct net_stream *stream, const uint8_t key[CLUSTER_KEY_BYTES], uint64_t deadline,
                     handshake_admit admit, void *owner, struct handshake_hello *hello,
                     struct handshake_welcome *welcome)
{
    struct handshake *handshake = handshake_begin(stream, key, deadline);
    if (handshake == NULL)
        return -ENOMEM;
    int status = server_challenge(handshake, hello);
    if (status == 0)
        status = server_verify(handshake);
    if (status == 0)
        status = admit(owner, hello, welcome);
    if (status == 0)
        status = server_welcome(handshake, welcome);
    else
        server_refuse(handshake, status);
    handshake_end(handshake);
    return status;
}
