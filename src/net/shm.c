/* The shm transport: messages between processes of one host, through memory that both map.
 *
 * Every connection has a segment of its own, made by the sender: a ring with one writer and one reader. So
 * nobody waits for anybody, a process that is stopped or dies in the middle of a message harms none but its
 * own connections, and what it wrote is checked as if it came from the network (shm_ring.h).
 *
 * Sleeping. Whoever is about to sleep says so in the segments: a receiver by `armed`, a sender that waits for
 * room or for its bulk by `waiting`. Then, behind a full fence, it looks once more at everything that could
 * have changed. The other side changes first and then, behind its own full fence, looks whether anybody
 * sleeps. Whatever the order in which these four steps happen, one of the two sees what the other did: either
 * there is no sleep, or there is a byte on the socket, which ends it.
 *
 * A peer on another host, or in another network namespace, is reached through the transport `far`, if there
 * is one; its connections and messages are then that transport's, and nothing of this is in their way. */
#include "net/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "net/shown.h"
#include "net/stream.h"
#include "net/ucx_context.h"

#define HUGE_PAGE (UINT64_C(2) << 20)

static struct shm_net *net_of(struct net *base)
{
    return container_of(base, struct shm_net, base);
}

/* ---- turns and sleep ---- */

static int poll_net(struct reactor *reactor)
{
    struct shm_net *net = container_of(reactor, struct shm_net, reactor);
    int work = 0;
    if (!list_empty(&net->waiting))
        work = shm_send_progress(net);
    return work + shm_receive_progress(net);
}

static int arm_net(struct reactor *reactor)
{
    struct shm_net *net = container_of(reactor, struct shm_net, reactor);
    if (shm_receive_arm(net, true))
        return -EBUSY;
    shm_send_arm(net, true);
    atomic_thread_fence(memory_order_seq_cst);
    bool busy = shm_receive_arm(net, false);
    return shm_send_arm(net, false) || busy ? -EBUSY : 0;
}

/* ---- memory ---- */

/* Maps at a multiple of a huge page, or the kernel cannot use huge pages. */
static uint8_t *map_region(size_t length, int fd)
{
    size_t slack = length >= HUGE_PAGE ? HUGE_PAGE : 0;
    uint8_t *space =
        mmap(NULL, length + slack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED)
        return NULL;
    size_t before = slack == 0 ? 0 : -(uintptr_t)space & (HUGE_PAGE - 1);
    uint8_t *memory = space + before;
    if (before != 0)
        munmap(space, before);
    if (slack - before != 0)
        munmap(memory + length, slack - before);
    if (mmap(memory, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
        munmap(memory, length);
        return NULL;
    }
    madvise(memory, length, MADV_HUGEPAGE);
    return memory;
}

/* Whether memory that processes share can have huge pages. Where it cannot, the default of many systems, a
 * server's own memory is better private: its pages are made, and looked up, 512 times as fast, and peers
 * still copy from it without a detour. */
static bool shared_huge_pages(void)
{
    char text[128];
    int fd = open("/sys/kernel/mm/transparent_hugepage/shmem_enabled", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t length = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[length < 0 ? 0 : length] = '\0';
    return strchr(text, '[') != NULL && strstr(text, "[never]") == NULL && strstr(text, "[deny]") == NULL;
}

static int private_region_create(struct shm_region *region)
{
    region->fd = -1;
    region->memory = ucx_memory_allocate(region->length);
    return region->memory != NULL ? 0 : -ENOMEM;
}

/* Memory that others may map, but only to read, and that cannot be taken away under their hands. */
static int shared_region_create(struct shm_region *region)
{
    region->fd = memfd_create("benchfs memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (region->fd < 0)
        return -ENOMEM;
    if (ftruncate(region->fd, (off_t)region->length) == 0) {
        region->memory = map_region(region->length, region->fd);
        if (region->memory != NULL &&
            fcntl(region->fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) ==
                0)
            return 0;
    }
    if (region->memory != NULL)
        munmap(region->memory, region->length);
    close(region->fd);
    return -ENOMEM;
}

static int memory_allocate(struct net *base, size_t length, void **memory, void **out)
{
    struct shm_net *net = net_of(base);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct shm_region *region = calloc(1, sizeof(*region));
    if (region == NULL)
        return -ENOMEM;
    region->length = (length + page - 1) / page * page;
    bool shared = net->options.share_memory || shared_huge_pages();
    int status = shared ? shared_region_create(region) : private_region_create(region);
    if (status != 0) {
        free(region);
        return status;
    }
    if (shared && net->region_count < SHM_REGIONS_MAX)
        region->id = ++net->region_count;
    list_push_back(&net->regions, &region->link);
    *memory = region->memory;
    *out = region;
    return 0;
}

static void memory_free(struct net *base, void *out)
{
    struct shm_region *region = out;
    (void)base;
    list_remove(&region->link);
    munmap(region->memory, region->length);
    if (region->fd >= 0)
        close(region->fd);
    free(region);
}

/* ---- the party ---- */

static void drop_message(void *owner, struct net_message *message)
{
    (void)owner, (void)message;
}

static void far_message(void *owner, struct net_message *message)
{
    struct shm_net *net = owner;
    net->base.receiver(net->base.owner, message);
}

/* Whoever gets our address from now on finds UCX's in it. It is not known which of UCX's transports leads to
 * the peer, so it is given all of them. */
int shm_far_open(struct shm_net *net)
{
    if (net->far != NULL)
        return 0;
    struct net_ucx_options options = net->far_options;
    options.one_host = false;
    options.lazy = true;
    int status = net_ucx_create(net->base.loop, &options, &net->far);
    if (status != 0)
        return status;
    net->far->receiver = far_message;
    net->far->owner = net;
    return shm_make_address(net);
}

static void destroy(struct net *base)
{
    struct shm_net *net = net_of(base);
    base->receiver = drop_message;
    shm_send_free_all(net);
    shm_socket_unlisten(net);
    shm_receive_free_all(net);
    loop_reactor_remove(base->loop, &net->reactor);
    if (net->far != NULL)
        net_destroy(net->far);
    free(net);
}

static const struct net_operations shm_operations = {
    .destroy = destroy,
    .connect = shm_connect,
    .close = shm_close,
    .peer_process = shm_peer_process,
    .send = shm_send,
    .room = shm_room,
    .post = shm_post,
    .hold = shm_hold,
    .receive = shm_receive,
    .release = shm_release,
    .memory_allocate = memory_allocate,
    .memory_free = memory_free,
    .show = shown_create,
    .hide = shown_destroy,
    .view = shown_view,
    .view_end = shown_view_end,
    .stream_listen = net_tcp_listen,
    .stream_connect = net_tcp_connect,
};

int net_shm_create(struct loop *loop, const struct net_shm_options *options, struct net **out)
{
    struct shm_net *net = aligned_alloc(SHM_LINE, sizeof(*net));
    if (net == NULL)
        return -ENOMEM;
    memset(net, 0, sizeof(*net));
    list_init(&net->outbounds);
    list_init(&net->waiting);
    list_init(&net->sends_free);
    list_init(&net->inbounds);
    list_init(&net->strangers);
    list_init(&net->fetches_free);
    list_init(&net->copying);
    list_init(&net->regions);
    net->options = *options;
    net->latest = loop_latest(loop);
    net->base = (struct net){
        .operations = &shm_operations,
        .loop = loop,
        .name = "shm",
        .reliable = true,
        .eager_max = SHM_INLINE_MAX,
        .copies_headers = true,
        .receiver = drop_message,
    };
    net->reactor = (struct reactor){.name = "shm", .poll = poll_net, .arm = arm_net, .fd = -1};
    int status = shm_socket_listen(net);
    if (status != 0)
        goto fail;
    status = loop_reactor_add(loop, &net->reactor);
    if (status != 0)
        goto fail_socket;
    *out = &net->base;
    return 0;

fail_socket:
    shm_socket_unlisten(net);
fail:
    log_error("cannot create the shared-memory transport: %s", strerror(-status));
    free(net);
    return status;
}

int net_create(struct loop *loop, const struct net_ucx_options *options, struct net **out)
{
    if (getenv("UCX_TLS") != NULL || (options != NULL && options->transports != NULL))
        return net_ucx_create(loop, options, out);
    int status = net_shm_create(loop, &(struct net_shm_options){0}, out);
    if (status != 0 || options == NULL)
        return status;
    net_of(*out)->far_options = *options;
    if (!options->one_host)
        status = shm_far_open(net_of(*out));
    if (status != 0)
        net_destroy(*out);
    return status;
}
