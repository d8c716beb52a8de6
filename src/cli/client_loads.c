/* Who loads the servers, as they see it: requests and bytes of each session, added up by process.
 *
 * Clients of this host tell more about themselves in regions of their own; of those elsewhere this is all
 * that is known here. Whether a process is on this host its server knows, if that is on this host, too;
 * otherwise the address that it came from tells. */
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "cli/observe.h"

#define OWN_MAX 64u

/* This host's addresses. */
struct own {
    char addresses[OWN_MAX][HOST_TEXT_MAX];
    uint32_t count;
};

static void own_find(struct own *own)
{
    struct ifaddrs *list = NULL;
    own->count = 0;
    if (getifaddrs(&list) != 0)
        return;
    for (const struct ifaddrs *one = list; one != NULL && own->count < OWN_MAX; one = one->ifa_next) {
        int family = one->ifa_addr == NULL ? AF_UNSPEC : one->ifa_addr->sa_family;
        socklen_t length = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
        if ((family == AF_INET || family == AF_INET6) &&
            getnameinfo(one->ifa_addr, length, own->addresses[own->count], HOST_TEXT_MAX, NULL, 0,
                        NI_NUMERICHOST) == 0)
            own->count++;
    }
    freeifaddrs(list);
}

static bool own_has(const struct own *own, const char *host)
{
    for (uint32_t i = 0; i < own->count; i++)
        if (strcmp(own->addresses[i], host) == 0)
            return true;
    return false;
}

/* host:port or [host]:port, without the port. */
static void host_of(const char *peer, char host[HOST_TEXT_MAX])
{
    const char *colon = strrchr(peer, ':');
    size_t length = colon == NULL ? strlen(peer) : (size_t)(colon - peer);
    if (length >= 2 && peer[0] == '[' && peer[length - 1] == ']') {
        peer++;
        length -= 2;
    }
    length = length < HOST_TEXT_MAX ? length : HOST_TEXT_MAX - 1;
    memcpy(host, peer, length);
    host[length] = '\0';
}

static struct client_load *load_find(struct observer *observer, const struct metrics_session *session,
                                     const char *host)
{
    for (uint32_t i = 0; i < observer->load_count; i++) {
        struct client_load *load = &observer->loads[i];
        if (load->instance == session->instance && session->instance != 0)
            return load;
    }
    struct client_load *grown =
        reallocarray(observer->loads, observer->load_count + 1, sizeof(*observer->loads));
    if (grown == NULL)
        return NULL;
    observer->loads = grown;
    struct client_load *load = &grown[observer->load_count++];
    *load = (struct client_load){.instance = session->instance, .uid = session->uid};
    memcpy(load->host, host, HOST_TEXT_MAX);
    return load;
}

/* What a session did since the last reading; it may be another one in the same place. */
static int load_add(struct observer *observer, const struct source *source, const struct own *own,
                    const struct metrics_session *now, const struct metrics_session *before)
{
    const struct watched *watched = watched_of(source);
    bool same = before->since == now->since && before->requests <= now->requests;
    uint64_t requests = now->requests - (same ? before->requests : 0);
    uint64_t bytes = now->bytes - (same ? before->bytes : 0);
    char host[HOST_TEXT_MAX];
    if (now->since == 0 || now->server != UINT32_MAX || (now->taken == 0 && requests == 0))
        return 0;
    host_of(now->peer, host);
    struct client_load *load = load_find(observer, now, host);
    if (load == NULL)
        return -ENOMEM;
    load->here = load->here || own_has(own, host) || (!source->remote && now->process != 0);
    load->sessions += now->taken != 0;
    load->requests += requests;
    load->bytes += bytes;
    if (watched->seconds > 0) {
        load->requests_per_s += (double)requests / watched->seconds;
        load->bytes_per_s += (double)bytes / watched->seconds;
    }
    return 0;
}

int client_loads_read(struct observer *observer, struct source *source)
{
    static struct metrics_session now[METRICS_SESSIONS];
    static const struct metrics_session none;
    struct watched *watched = watched_of(source);
    struct own own;
    int count = metrics_sessions_read(source->reader, now), status = 0;
    if (count <= 0)
        return count;
    own_find(&own);
    for (int i = 0; i < count && status == 0; i++)
        status = load_add(observer, source, &own, &now[i],
                          (uint32_t)i < watched->session_count ? &watched->sessions[i] : &none);
    struct metrics_session *kept =
        status != 0 ? NULL : reallocarray(watched->sessions, (size_t)count, sizeof(*kept));
    if (kept == NULL)
        return -ENOMEM;
    memcpy(kept, now, (size_t)count * sizeof(*kept));
    watched->sessions = kept;
    watched->session_count = (uint32_t)count;
    return 0;
}

static int by_rate(const void *left, const void *right)
{
    const struct client_load *a = left, *b = right;
    if (a->requests_per_s != b->requests_per_s)
        return a->requests_per_s < b->requests_per_s ? 1 : -1;
    return (a->instance > b->instance) - (a->instance < b->instance);
}

void client_loads_sort(struct observer *observer)
{
    if (observer->load_count > 0)
        qsort(observer->loads, observer->load_count, sizeof(*observer->loads), by_rate);
}
