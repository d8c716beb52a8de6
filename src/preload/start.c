/* What happens before the program runs: the prefix, and what a program that executed this one handed on; and
 * when it ends: its open files are let go, which would otherwise be noticed only when its connections expire.
 *
 * The library is linked to be initialised before all others (-z initfirst), so that their constructors meet
 * everything in place; above all those of libstdc++, which remember where stdout is. */
#include <stdlib.h>

#include "preload/preload.h"

extern char **environ;

__attribute__((constructor)) static void start(int argc, char **argv, char **environment)
{
    (void)argc;
    (void)argv;
    if (environ == NULL)
        environ = environment;
    real(dlopen);
    paths_prepare();
    descriptors_prepare();
    environment_adopt();
}

/* ---- the end ---- */

/* The first to be initialised is the last to end; only what is in streams' buffers would be written later. */
__attribute__((destructor)) static void end(void)
{
    if (remote == NULL && !descriptors_any())
        return;
    fflush(NULL);
    descriptors_farewell();
}

EXPORT void _exit(int status)
{
    descriptors_farewell();
    real(_exit)(status);
    __builtin_unreachable();
}
ALIAS(_Exit, _exit);
