/* What happens before the program runs: the prefix, and what a program that executed this one handed on.
 *
 * The library is linked to be initialised before all others (-z initfirst), so that their constructors meet
 * everything in place; above all those of libstdc++, which remember where stdout is. */
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
