/* The UCX configuration of BenchFS.
 *
 * What the user's environment sets always wins (UCX_TLS, UCX_LOG_LEVEL, ...); otherwise
 *  - transports are UCX's own choice: shared memory and CMA on one host, RDMA where there is any, else TCP.
 * Where every peer is known to be on this host it is shared memory alone: fewer interfaces to make, and none
 * of loopback's traps (a second rail over a network card, for instance);
 *  - endpoints run in UCX's peer error mode, because only there can an endpoint to a dead peer be discarded,
 * with what hangs on it, without waiting. Shared memory and CMA do not offer that mode by default, and UCX
 * would quietly move peers of the same host to TCP; MM_ERROR_HANDLING and MEMORY_INVALIDATE make them offer
 * it, at no cost that could be measured. What UCX cannot do there is notice that a shared-memory peer died:
 * its keepalive could, in 20 s, but the layers above know at once from their streams, so it is off;
 *  - elements of the shared-memory FIFO have 256 bytes: a message of up to about 220 bytes, which is nearly
 * every request and reply without bulk, is then written in place; with UCX's 128 bytes, those beyond 92 take
 * a detour of 0.25 us;
 *  - UCX prints errors on standard error only while a context is made, where they say more than a status does
 * (a device that does not exist); later ones are about peers that died, which we report ourselves;
 *  - the backtrace handlers for SIGSEGV and friends, which UCX's constructor installs before main, are taken
 * back: a crash belongs to the program that crashes.
 *
 * A worker address goes around the cluster as bytes. UCX parses addresses without checking them, so they
 * travel in a frame of ours: magic, length and XXH64 of the address. A damaged or foreign one is refused
 * before UCX sees it. */
#include "net/ucx_context.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucs/config/global_opts.h>
#include <ucs/debug/debug.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"

#define FRAME_MAGIC 0x31585542u /* "BUX1" */
#define MESSAGE_IDS 65536u      /* all that fit the wire's 16 bits */
#define HUGE_PAGE (UINT64_C(2) << 20)

struct __attribute__((packed)) address_frame {
    uint32_t magic;
    uint32_t length; /* of the worker address that follows */
    uint64_t checksum;
};
static_assert(sizeof(struct address_frame) == 16, "wire size");

int ucx_status(ucs_status_t status)
{
    switch (status) {
    case UCS_OK:
        return 0;
    case UCS_INPROGRESS:
        return -EINPROGRESS;
    case UCS_ERR_NO_MEMORY:
        return -ENOMEM;
    case UCS_ERR_INVALID_PARAM:
    case UCS_ERR_INVALID_ADDR:
        return -EINVAL;
    case UCS_ERR_MESSAGE_TRUNCATED:
        return -EMSGSIZE;
    case UCS_ERR_BUSY:
        return -EBUSY;
    case UCS_ERR_NO_DEVICE:
        return -ENODEV;
    case UCS_ERR_CANCELED:
    case UCS_ERR_UNREACHABLE:
    case UCS_ERR_NOT_CONNECTED:
    case UCS_ERR_CONNECTION_RESET:
    case UCS_ERR_ENDPOINT_TIMEOUT:
        return -ECONNRESET;
    default:
        return -EIO;
    }
}

/* Whether the handler of a signal is UCX's: a handler that the program installed since must stay. */
static bool handled_by_ucx(int signal)
{
    struct sigaction action;
    Dl_info handler, ucx;
    return sigaction(signal, NULL, &action) == 0 && action.sa_handler != SIG_DFL &&
           action.sa_handler != SIG_IGN && dladdr((void *)(uintptr_t)action.sa_sigaction, &handler) != 0 &&
           dladdr((void *)(uintptr_t)ucs_debug_disable_signal, &ucx) != 0 &&
           handler.dli_fbase == ucx.dli_fbase;
}

static void set_log_level(const char *level)
{
    if (getenv("UCX_LOG_LEVEL") == NULL)
        ucs_global_opts_set_value("LOG_LEVEL", level);
}

static void take_back_signals(void)
{
    if (getenv("UCX_HANDLE_ERRORS") != NULL || getenv("UCX_ERROR_SIGNALS") != NULL)
        return;
    for (unsigned i = 0; i < ucs_global_opts.error_signals.count; i++)
        if (handled_by_ucx(ucs_global_opts.error_signals.signals[i]))
            ucs_debug_disable_signal(ucs_global_opts.error_signals.signals[i]);
}

/* Options that hold unless the environment sets one of the named variables. */
static const struct preference {
    const char *option, *value;
    const char *variables[4];
} preferences[] = {
    {"MM_FIFO_ELEM_SIZE",
     "256",
     {"UCX_MM_FIFO_ELEM_SIZE", "UCX_POSIX_FIFO_ELEM_SIZE", "UCX_SYSV_FIFO_ELEM_SIZE"}},
    {"MM_ERROR_HANDLING",
     "y",
     {"UCX_MM_ERROR_HANDLING", "UCX_POSIX_ERROR_HANDLING", "UCX_SYSV_ERROR_HANDLING"}},
    {"MEMORY_INVALIDATE", "y", {"UCX_CMA_MEMORY_INVALIDATE"}},
    {"KEEPALIVE_INTERVAL", "inf", {"UCX_KEEPALIVE_INTERVAL"}},
};

static int configure(ucp_config_t *config, const struct net_ucx_options *options)
{
    int error = 0;
    for (size_t i = 0; error == 0 && i < sizeof preferences / sizeof preferences[0]; i++) {
        bool chosen = false;
        for (const char *const *variable = preferences[i].variables; *variable != NULL; variable++)
            chosen |= getenv(*variable) != NULL;
        if (!chosen)
            error = ucx_status(ucp_config_modify(config, preferences[i].option, preferences[i].value));
    }
    const char *transports = options == NULL ? NULL : options->transports;
    if (transports == NULL && options != NULL && options->one_host && getenv("UCX_TLS") == NULL)
        transports = "self,sm";
    if (error == 0 && transports != NULL)
        error = ucx_status(ucp_config_modify(config, "TLS", transports));
    if (error == 0 && options != NULL && options->devices != NULL)
        error = ucx_status(ucp_config_modify(config, "NET_DEVICES", options->devices));
    return error;
}

static int context_init(const struct net_ucx_options *options, size_t request_size,
                        ucp_request_init_callback_t init, ucp_context_h *context)
{
    ucp_config_t *config;
    ucs_status_t status = ucp_config_read(NULL, NULL, &config);
    if (status != UCS_OK)
        return ucx_status(status);
    int error = configure(config, options);
    if (error == 0) {
        const ucp_params_t parameters = {
            .field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_REQUEST_SIZE |
                          UCP_PARAM_FIELD_REQUEST_INIT | UCP_PARAM_FIELD_NAME,
            .features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP |
                        (options != NULL && options->one_sided ? UCP_FEATURE_RMA : 0),
            .request_size = request_size,
            .request_init = init,
            .name = "benchfs",
        };
        error = ucx_status(ucp_init(&parameters, config, context));
    }
    ucp_config_release(config);
    return error;
}

static int worker_init(struct ucx_context *ucx)
{
    const ucp_worker_params_t parameters = {
        .field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
        .thread_mode = UCS_THREAD_MODE_SINGLE,
    };
    return ucx_status(ucp_worker_create(ucx->context, &parameters, &ucx->worker));
}

static int address_init(struct ucx_context *ucx)
{
    ucp_address_t *address;
    size_t length;
    ucs_status_t status = ucp_worker_get_address(ucx->worker, &address, &length);
    if (status != UCS_OK)
        return ucx_status(status);
    struct address_frame frame = {FRAME_MAGIC, (uint32_t)length, hash64(address, length, FRAME_MAGIC)};
    ucx->address = malloc(sizeof frame + length);
    if (ucx->address != NULL) {
        memcpy(ucx->address, &frame, sizeof frame);
        memcpy(ucx->address + sizeof frame, address, length);
        ucx->address_length = sizeof frame + length;
    }
    ucp_worker_release_address(ucx->worker, address);
    return ucx->address == NULL ? -ENOMEM : 0;
}

int ucx_handler_set(struct ucx_context *ucx, unsigned id, ucp_am_recv_callback_t handler, void *owner)
{
    const ucp_am_handler_param_t parameters = {
        .field_mask =
            UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_CB | UCP_AM_HANDLER_PARAM_FIELD_ARG,
        .id = id,
        .cb = handler,
        .arg = owner,
    };
    return ucx_status(ucp_worker_set_am_recv_handler(ucx->worker, &parameters));
}

/* UCX looks up a message's id in a table that it does not initialise (1.13), and reads past its end for an id
 * beyond it: anybody could crash us with an id that we do not use. So every id gets its entry, the largest
 * first: the table is allocated once. */
static int handlers_clear(struct ucx_context *ucx)
{
    int error = 0;
    for (unsigned id = MESSAGE_IDS; id-- > 0 && error == 0;)
        error = ucx_handler_set(ucx, id, NULL, NULL);
    return error;
}

static int create(const struct net_ucx_options *options, size_t request_size,
                  ucp_request_init_callback_t init, struct ucx_context *ucx)
{
    take_back_signals();
    set_log_level("error");
    const char *step = "context";
    int error = context_init(options, request_size, init, &ucx->context);
    if (error != 0)
        goto fail;
    step = "worker";
    error = worker_init(ucx);
    if (error != 0)
        goto fail_context;
    step = "message table";
    error = handlers_clear(ucx);
    if (error != 0)
        goto fail_worker;
    step = "worker address";
    error = address_init(ucx);
    if (error != 0)
        goto fail_worker;
    set_log_level("fatal");
    return 0;

fail_worker:
    ucp_worker_destroy(ucx->worker);
fail_context:
    ucp_cleanup(ucx->context);
fail:
    log_error("cannot create the UCX %s (transports \"%s\", devices \"%s\"): %s", step,
              options != NULL && options->transports != NULL ? options->transports : "default",
              options != NULL && options->devices != NULL ? options->devices : "default", strerror(-error));
    return error;
}

int ucx_context_create(const struct net_ucx_options *options, size_t request_size,
                       ucp_request_init_callback_t init, struct ucx_context *ucx)
{
    ucx_fork_hold();
    int error = create(options, request_size, init, ucx);
    ucx_fork_release(error == 0 ? 1 : 0);
    return error;
}

void ucx_context_destroy(struct ucx_context *ucx)
{
    ucx_fork_hold();
    free(ucx->address);
    ucp_worker_destroy(ucx->worker);
    ucp_cleanup(ucx->context);
    ucx_fork_release(-1);
}

int ucx_endpoint_create(struct ucx_context *ucx, const void *address, size_t length,
                        ucp_err_handler_cb_t failed, void *owner, ucp_ep_h *endpoint)
{
    struct address_frame frame;
    if (length < sizeof frame)
        return -EINVAL;
    memcpy(&frame, address, sizeof frame);
    const uint8_t *worker_address = (const uint8_t *)address + sizeof frame;
    if (frame.magic != FRAME_MAGIC || frame.length != length - sizeof frame ||
        frame.checksum != hash64(worker_address, frame.length, FRAME_MAGIC))
        return -EINVAL;
    const ucp_ep_params_t parameters = {
        .field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                      UCP_EP_PARAM_FIELD_ERR_HANDLER,
        .address = (const ucp_address_t *)worker_address,
        .err_mode = UCP_ERR_HANDLING_MODE_PEER,
        .err_handler = {.cb = failed, .arg = owner},
    };
    return ucx_status(ucp_ep_create(ucx->worker, &parameters, endpoint));
}

void ucx_endpoint_destroy(ucp_ep_h endpoint)
{
    const ucp_request_param_t parameters = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS,
        .flags = UCP_EP_CLOSE_FLAG_FORCE,
    };
    void *request = ucp_ep_close_nbx(endpoint, &parameters);
    if (UCS_PTR_IS_PTR(request))
        ucp_request_free(request);
}

void *ucx_memory_allocate(size_t length)
{
    /* Start on a huge page boundary, or the kernel cannot use huge pages at the ends. */
    size_t slack = length >= HUGE_PAGE ? HUGE_PAGE : 0;
    uint8_t *mapped = mmap(NULL, length + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED)
        return NULL;
    if (slack == 0)
        return mapped;
    size_t before = -(uintptr_t)mapped & (HUGE_PAGE - 1);
    if (before != 0)
        munmap(mapped, before);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *end = mapped + before + (length + page - 1) / page * page;
    size_t after = (size_t)(mapped + ((length + slack + page - 1) / page * page) - end);
    if (after != 0)
        munmap(end, after);
    madvise(mapped + before, length, MADV_HUGEPAGE);
    return mapped + before;
}

void ucx_memory_free(void *memory, size_t length)
{
    munmap(memory, length);
}
