/* The connection of this process to BenchFS: loads the client module and connects, at the first call that
 * needs it. A failure is told once on standard error, because errno alone would not say what to do. */
#include <dlfcn.h>
#include <stdlib.h>

#include "preload/family.h"

THREAD unsigned inside;
const struct remote_calls *remote;

static pthread_mutex_t connecting = PTHREAD_MUTEX_INITIALIZER;
static const struct remote_calls *loaded;
static bool told;

static void tell(const char *reason)
{
    if (told)
        return;
    told = true;
    char text[1400];
    int length =
        snprintf(text, sizeof text, "libbenchfs_preload.so: %s is not available: %s\n", prefix.text, reason);
    if (length > 0)
        real(write)(STDERR_FILENO, text, (size_t)length < sizeof text ? (size_t)length : sizeof text - 1);
}

/* The module lies beside this library, which LD_PRELOAD may name by a link. */
static const struct remote_calls *load(void)
{
    Dl_info self;
    char path[PATH_MAX] = "", *slash = NULL;
    if (dladdr((void *)&prefix, &self) != 0 && real(realpath)(self.dli_fname, path) != NULL)
        slash = strrchr(path, '/');
    if (slash == NULL)
        slash = path;
    else
        slash++;
    if ((size_t)(path + sizeof path - slash) > sizeof REMOTE_MODULE)
        strcpy(slash, REMOTE_MODULE);
    void *module = real(dlopen)(path, RTLD_NOW | RTLD_LOCAL);
    if (module == NULL) {
        tell(dlerror());
        return NULL;
    }
    const struct remote_calls *(*table)(void) =
        (const struct remote_calls *(*)(void))(uintptr_t)dlsym(module, REMOTE_SYMBOL);
    if (table == NULL)
        tell("its client module is of another version");
    return table == NULL ? NULL : table();
}

static void guard(bool enter)
{
    inside += enter ? 1 : -1U;
}

static const struct remote_calls *load_and_connect(void)
{
    if (loaded == NULL)
        loaded = load();
    if (loaded == NULL) {
        errno = EIO;
        return NULL;
    }
    if (!family_create())
        return NULL;
    const char *reason = loaded->connect(prefix.text, guard);
    if (reason == NULL)
        return loaded;
    int error = errno == ENOENT ? ENOENT : EIO;
    tell(reason);
    errno = error;
    return NULL;
}

/* ---- threads of BenchFS ---- */

struct thread {
    void *(*run)(void *argument);
    void *argument;
};

static void *run_inside(void *started)
{
    struct thread thread = *(struct thread *)started;
    inside++;
    free(started);
    return thread.run(thread.argument);
}

/* A thread that BenchFS makes for itself, as UCX does, is inside for its whole life. */
EXPORT int pthread_create(pthread_t *id, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument)
{
    if (likely(inside == 0))
        return real(pthread_create)(id, attributes, run, argument);
    struct thread *thread = malloc(sizeof *thread);
    if (thread == NULL)
        return EAGAIN;
    *thread = (struct thread){run, argument};
    int error = real(pthread_create)(id, attributes, run_inside, thread);
    if (error != 0)
        free(thread);
    return error;
}

/* ---- connecting ---- */

bool remote_connect_slow(void)
{
    if (inside > 0) { /* from a signal handler, or the loader: there is nothing to be had here */
        errno = EIO;
        return false;
    }
    int before = errno;
    inside++;
    pthread_mutex_lock(&connecting);
    if (remote == NULL) {
        const struct remote_calls *connected = load_and_connect();
        __atomic_store_n(&remote, connected, __ATOMIC_RELEASE);
    }
    bool ready = remote != NULL;
    pthread_mutex_unlock(&connecting);
    inside--;
    if (ready)
        errno = before;
    return ready;
}

const char *remote_left(void)
{
    int before = errno;
    inside++;
    const char *left = remote->left();
    inside--;
    errno = before;
    return left;
}
