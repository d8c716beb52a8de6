/* The bootstrap handshake: two parties that hold the cluster key prove it to each other over a stream, agree
 * on the protocol version and open (or resume) a session.
 *
 *   client                                    server
 *   HELLO {version, role, id, nonce, address, session to resume}
 *                                             CHALLENGE {nonce}
 *   PROOF {mac(client, HELLO, CHALLENGE)}
 *                                             WELCOME {session, token, address, mac(server, HELLO, CHALLENGE,
 * PROOF, it)} at any point instead of its next frame:   REFUSED {reason, version}
 *
 * A mac is BLAKE2b (RFC 7693) of 32 bytes keyed with the cluster key over a label of its side and all frames
 * so far, so it covers role, ids, addresses, version and both nonces: it can be neither replayed nor
 * reflected. A frame is u32 length (of the rest), u8 type, payload. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/stream.h"
#include "rpc/rpc.h"

#define HANDSHAKE_NONCE_BYTES 32u
#define HANDSHAKE_MAC_BYTES 32u
#define HANDSHAKE_ADDRESS_MAX 8192u
#define HANDSHAKE_FRAME_MAX 8448u /* type and payload */
#define HANDSHAKE_FRAME_HEADER 4u

enum handshake_type {
    HANDSHAKE_HELLO = 1,
    HANDSHAKE_CHALLENGE = 2,
    HANDSHAKE_PROOF = 3,
    HANDSHAKE_WELCOME = 4,
    HANDSHAKE_REFUSED = 5,
};

enum handshake_reason {
    HANDSHAKE_BAD_VERSION = 1,
    HANDSHAKE_BAD_KEY = 2,
    HANDSHAKE_BUSY = 3,
    HANDSHAKE_MALFORMED = 4,
    HANDSHAKE_UNREACHABLE = 5, /* no transport of the server's leads to the client's address */
};

/* The last byte that a client sends over the stream before it closes it. One that is closed without it was
 * closed by the kernel, when the client's process ended. */
enum handshake_parting {
    HANDSHAKE_AGAIN = 1,   /* its connection failed, or it fears so: the session is to be kept for it */
    HANDSHAKE_GOODBYE = 2, /* the session is over */
};

#define HANDSHAKE_ROLE_CLIENT 0
#define HANDSHAKE_ROLE_SERVER 1

struct handshake_hello {
    uint16_t version;
    uint8_t role;
    bool resume;     /* session and token name a session of an earlier connection */
    uint32_t server; /* the sender's server id; UINT32_MAX for a client */
    uint32_t uid;
    uint64_t
        instance; /* of the process that the sender speaks for: all its sessions name the same; 0: none */
    uint32_t session;
    uint64_t token;
    uint8_t nonce[HANDSHAKE_NONCE_BYTES];
    uint16_t address_length;
    uint8_t address[HANDSHAKE_ADDRESS_MAX]; /* where the transport reaches the sender */
};

struct handshake_challenge {
    uint16_t version;
    uint8_t nonce[HANDSHAKE_NONCE_BYTES];
};

struct handshake_welcome {
    bool resumed;
    uint32_t session;
    uint32_t server;
    uint64_t token;
    uint16_t address_length;
    uint8_t address[HANDSHAKE_ADDRESS_MAX];
};

struct handshake_refused {
    uint16_t reason;  /* enum handshake_reason */
    uint16_t version; /* what the server speaks */
};

/* One decoded frame. */
struct handshake_frame {
    uint8_t type;
    union {
        struct handshake_hello hello;
        struct handshake_challenge challenge;
        uint8_t proof[HANDSHAKE_MAC_BYTES];
        struct {
            struct handshake_welcome welcome;
            uint8_t welcome_mac[HANDSHAKE_MAC_BYTES];
        };
        struct handshake_refused refused;
    };
};

/* Decodes type and payload of one frame. Returns 0 or -EPROTO. Of a HELLO of another version only the version
 * is decoded, because nothing else of it is known. */
int handshake_decode(const void *bytes, size_t length, struct handshake_frame *frame);

/* Runs the client's side. hello is complete but for version and nonce. Returns 0 and *welcome; -EACCES: the
 * key was refused, or the server has another; -EPROTONOSUPPORT: another version; -EAGAIN: too busy; -EPROTO:
 * no BenchFS server; or the stream's errors. */
int handshake_connect(struct net_stream *stream, const uint8_t key[CLUSTER_KEY_BYTES],
                      struct handshake_hello *hello, uint64_t deadline, struct handshake_welcome *welcome);

/* Opens or resumes the session that the proven hello asks for. Fills welcome and returns 0 or -errno. */
typedef int (*handshake_admit)(void *owner, const struct handshake_hello *hello,
                               struct handshake_welcome *welcome);

/* Runs the server's side. admit is called once the client has proven the key. Returns 0 when WELCOME was
 * written; errors as above. hello and welcome are the caller's memory, large for a stack. */
int handshake_accept(struct net_stream *stream, const uint8_t key[CLUSTER_KEY_BYTES], uint64_t deadline,
                     handshake_admit admit, void *owner, struct handshake_hello *hello,
                     struct handshake_welcome *welcome);

/* Bytes that nobody can guess; on a simulated loop from its generator, so that runs can be repeated. */
void handshake_random(struct loop *loop, void *bytes, size_t length);

/* The token of a session: a keyed hash of (slot, generation) under the server's own secret. */
uint64_t handshake_token(const uint8_t secret[CLUSTER_KEY_BYTES], uint32_t slot, uint32_t generation);
