/* A connection to the file system. libbenchfs finds the cluster and explains why it cannot; the verbs then
 * use the client core of this thread's worker, because they run many operations as tasks on one loop. */
#include <errno.h>
#include <getopt.h>

#include "cli/cli.h"
#include "client/library.h"

int session_try(struct session *session)
{
    session->fs = benchfs_connect(NULL);
    session->client = session->fs == NULL ? NULL : client_get(session->fs);
    if (session->client == NULL) {
        int status = -errno;
        if (session->fs != NULL)
            benchfs_disconnect(session->fs);
        return status;
    }
    session->loop = client_loop(session->client);
    return 0;
}

int session_open(struct session *session)
{
    session->fs = benchfs_connect(NULL);
    if (session->fs == NULL) {
        int status = -errno;
        cli_error("%s", benchfs_error());
        return status;
    }
    session->client = client_get(session->fs);
    if (session->client == NULL) {
        int status = -errno;
        cli_error("cannot connect: %s", status_text(status));
        benchfs_disconnect(session->fs);
        return status;
    }
    session->loop = client_loop(session->client);
    return 0;
}

void session_close(struct session *session)
{
    benchfs_disconnect(session->fs);
}

int session_for_each(int argc, char **argv, const char *what,
                     int (*each)(const struct session *session, const char *path, void *argument),
                     void *argument)
{
    struct session session;
    int result = CLI_OK;
    if (optind == argc)
        return cli_usage("no %s given", what);
    for (int i = optind; i < argc; i++)
        if (path_parse(argv[i]) == NULL)
            return CLI_USAGE;
    if (session_open(&session) != 0)
        return CLI_FAILED;
    for (int i = optind; i < argc; i++)
        if (each(&session, path_parse(argv[i]), argument) != CLI_OK)
            result = CLI_FAILED;
    session_close(&session);
    return result;
}
