/* The servers and the connection of the library door. */
#include "conformance.h"

#include "cluster.h"

benchfs *door;
static struct cluster cluster;

int door_open(unsigned servers)
{
    char mode[64];
    const char *settings[] = {mode, NULL}, *consistency = getenv("CONSISTENCY");
    snprintf(mode, sizeof mode, "cluster.consistency=%s", consistency == NULL ? "strict" : consistency);
    if (servers == 0 || servers > CLUSTER_SERVERS_MAX || cluster_start(&cluster, servers, settings) < 0)
        return -1;
    door = benchfs_connect(NULL);
    if (door != NULL)
        return 0;
    fprintf(stderr, "benchfs_connect: %s\n", benchfs_error());
    cluster_stop(&cluster);
    return -1;
}

void door_close(void)
{
    benchfs_disconnect(door);
    door = NULL;
}

int door_end(void)
{
    return cluster_stop(&cluster);
}

void door_become(uid_t uid, gid_t gid, const gid_t *groups, unsigned count)
{
#ifdef HAVE_benchfs_set_credentials
    if (benchfs_set_credentials(door, uid, gid, (int)count, groups) < 0)
        expect(false, __FILE__, __LINE__, "benchfs_set_credentials", "%s", strerrorname_np(errno));
#else
    (void)groups;
    if (uid != 0 || gid != 0 || count != 0)
        door_missing("set_credentials");
#endif
}
