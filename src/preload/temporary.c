/* Names that nobody else has: mkstemp and its kin. */
#include <stdlib.h>
#include <sys/random.h>

#include "preload/preload.h"

#define ATTEMPTS 1000

/* The six X before the suffix, or NULL with errno set. */
static char *letters_of(char *template, int suffix)
{
    size_t length = strlen(template);
    if (suffix >= 0 && length >= 6 + (size_t)suffix) {
        char *letters = template + length - 6 - suffix;
        if (memcmp(letters, "XXXXXX", 6) == 0)
            return letters;
    }
    errno = EINVAL;
    return NULL;
}

static void draw(char *letters)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    uint8_t random[6];
    while (getrandom(random, sizeof random, 0) != sizeof random)
        continue;
    for (int i = 0; i < 6; i++)
        letters[i] = alphabet[random[i] % (sizeof alphabet - 1)];
}

/* Draws names until try(template, argument) does not fail with EEXIST. */
static int attempt(char *template, int suffix, int (*try)(const char *path, int argument), int argument)
{
    char *letters = letters_of(template, suffix);
    if (letters == NULL)
        return -1;
    int before = errno;
    for (int i = 0; i < ATTEMPTS; i++) {
        draw(letters);
        int result = try(template, argument);
        if (result >= 0)
            errno = before;
        if (result >= 0 || errno != EEXIST)
            return result;
    }
    return -1;
}

static int try_file(const char *path, int flags)
{
    return open(path, flags | O_RDWR | O_CREAT | O_EXCL, 0600);
}

static int try_directory(const char *path, int unused)
{
    (void)unused;
    return mkdir(path, 0700);
}

static int try_name(const char *path, int unused)
{
    struct stat status;
    (void)unused;
    if (lstat(path, &status) < 0 && errno == ENOENT)
        return 0;
    errno = EEXIST;
    return -1;
}

EXPORT int mkostemps(char *template, int suffix, int flags)
{
    ROUTE(place, AT_FDCWD, template, -1, real(mkostemps)(template, suffix, flags));
    return attempt(template, suffix, try_file, flags & ~O_ACCMODE);
}
ALIAS(mkostemps64, mkostemps);

EXPORT int mkstemps(char *template, int suffix)
{
    return mkostemps(template, suffix, 0);
}
ALIAS(mkstemps64, mkstemps);

EXPORT int mkostemp(char *template, int flags)
{
    return mkostemps(template, 0, flags);
}
ALIAS(mkostemp64, mkostemp);

EXPORT int mkstemp(char *template)
{
    return mkostemps(template, 0, 0);
}
ALIAS(mkstemp64, mkstemp);

EXPORT char *mkdtemp(char *template)
{
    ROUTE(place, AT_FDCWD, template, NULL, real(mkdtemp)(template));
    return attempt(template, 0, try_directory, 0) < 0 ? NULL : template;
}

EXPORT char *mktemp(char *template)
{
    ROUTE(place, AT_FDCWD, template, NULL, real(mktemp)(template));
    if (attempt(template, 0, try_name, 0) < 0)
        template[0] = '\0';
    return template;
}

EXPORT char *tempnam(const char *directory, const char *start)
{
    const char *top = getenv("TMPDIR");
    if (top == NULL || *top == '\0')
        top = directory;
    ROUTE(place, AT_FDCWD, top, NULL, real(tempnam)(directory, start));
    char *path = NULL;
    if (asprintf(&path, "%s/%.5sXXXXXX", top, start != NULL ? start : "file") < 0)
        return NULL;
    if (attempt(path, 0, try_name, 0) == 0)
        return path;
    free(path);
    return NULL;
}
