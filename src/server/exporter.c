/* libmicrohttpd does HTTP. A region that has a file is read through it, which leaves its holes holes; one
 * that has none from memory. */
#include "server/exporter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "metrics/reader.h"
#include "server/exposition.h"

#define CONNECTIONS_MAX 16u
#define TIMEOUT 10u /* seconds that a connection may be idle */

struct exporter {
    const struct metrics *metrics;
    struct MHD_Daemon *daemon;
};

/* ---- answering ---- */

static int make_text(const struct exporter *exporter, char **text, size_t *length)
{
    const struct metrics *metrics = exporter->metrics;
    struct metrics_source *source;
    int status = metrics->path != NULL ? metrics_source_open(metrics->path, &source)
                                       : metrics_source_memory(metrics->header, &source);
    if (status != 0)
        return status;
    FILE *out = open_memstream(text, length);
    status = out == NULL ? -ENOMEM : exposition_write(source, out);
    if (out != NULL && fclose(out) != 0 && status == 0)
        status = -ENOMEM;
    metrics_source_close(source);
    if (status != 0 && out != NULL)
        free(*text);
    return status;
}

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned code, const char *text)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);
    if (response == NULL)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/plain; charset=utf-8");
    if (code == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    enum MHD_Result result = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer(void *owner, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **state)
{
    static int seen;
    (void)version;
    (void)upload;
    if (*state == NULL) { /* the head of the request; what follows is dropped */
        *state = &seen;
        return MHD_YES;
    }
    if (*upload_size != 0) {
        *upload_size = 0;
        return MHD_YES;
    }
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET\n");
    if (strcmp(url, "/metrics") != 0)
        return answer_text(connection, MHD_HTTP_NOT_FOUND, "see /metrics\n");
    char *text;
    size_t length;
    if (make_text(owner, &text, &length) != 0)
        return answer_text(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "the region cannot be read\n");
    struct MHD_Response *response = MHD_create_response_from_buffer(length, text, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(text);
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                            "text/plain; version=0.0.4; charset=utf-8");
    enum MHD_Result result = MHD_queue_response(connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return result;
}

/* ---- life ---- */

/* Splits the address; host: 256 bytes. */
static int split(const char *listen, char *host, unsigned *port)
{
    const char *colon = strrchr(listen, ':');
    char *end;
    if (colon == NULL || colon[1] < '0' || colon[1] > '9')
        return -EINVAL;
    unsigned long value = strtoul(colon + 1, &end, 10);
    size_t length = (size_t)(colon - listen);
    if (*end != '\0' || value > UINT16_MAX || length == 0 || length > 255)
        return -EINVAL;
    bool brackets = listen[0] == '[' && listen[length - 1] == ']';
    if (brackets)
        listen++, length -= 2;
    memcpy(host, listen, length);
    host[length] = '\0';
    *port = (unsigned)value;
    return 0;
}

static int resolve(const char *listen, uint32_t server, char *host, struct addrinfo **address)
{
    unsigned port;
    char service[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    int status = split(listen, host, &port);
    if (status == 0 && port != 0 && (server > UINT16_MAX || port + server > UINT16_MAX))
        status = -EINVAL;
    if (status != 0)
        return status;
    snprintf(service, sizeof(service), "%u", port == 0 ? 0 : port + server);
    return getaddrinfo(host, service, &hints, address) == 0 ? 0 : -EINVAL;
}

int exporter_start(const char *listen, uint32_t server, const struct metrics *metrics, char *bound,
                   struct exporter **started)
{
    char host[256];
    struct addrinfo *address;
    int status = resolve(listen, server, host, &address);
    if (status != 0)
        return status;
    struct exporter *exporter = calloc(1, sizeof(*exporter));
    if (exporter == NULL) {
        freeaddrinfo(address);
        return -ENOMEM;
    }
    exporter->metrics = metrics;
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
                     (address->ai_family == AF_INET6 ? (unsigned)MHD_USE_IPv6 : 0);
    errno = 0;
    exporter->daemon = MHD_start_daemon(flags, 0, NULL, NULL, answer, exporter, MHD_OPTION_SOCK_ADDR,
                                        address->ai_addr, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
                                        MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT, MHD_OPTION_END);
    status = exporter->daemon != NULL ? 0 : errno != 0 ? -errno : -EADDRINUSE;
    bool six = address->ai_family == AF_INET6;
    freeaddrinfo(address);
    if (status != 0) {
        free(exporter);
        return status;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(exporter->daemon, MHD_DAEMON_INFO_BIND_PORT);
    snprintf(bound, 64, "%s%.50s%s:%u", six ? "[" : "", host, six ? "]" : "",
             info != NULL ? (unsigned)info->port : 0);
    *started = exporter;
    return 0;
}

void exporter_stop(struct exporter *exporter)
{
    if (exporter == NULL)
        return;
    MHD_stop_daemon(exporter->daemon);
    free(exporter);
}
