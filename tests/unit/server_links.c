/* Hard links on the servers: names and counts on any pair of servers, in races, and when something fails. */
#include "server_fixture.h"

static struct fixture f;

static int open_one(void **state)
{
    (void)state;
    fixture_open(&f, &(struct fixture_options){.servers = 1});
    return 0;
}

static int open_three(void **state)
{
    (void)state;
    fixture_open(&f, &(struct fixture_options){.servers = 3});
    return 0;
}

static int open_lossy(void **state)
{
    (void)state;
    fixture_open(&f, &(struct fixture_options){.servers = 3, .loss_per_million = 100000});
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static uint32_t links_of(uint64_t inode)
{
    struct attributes attributes = {0};
    assert_int_equal(get_attributes(&f, inode, &attributes), 0);
    return attributes.links;
}

static void test_names_on_every_server(void **state)
{
    (void)state;
    struct attributes attributes = {0};
    for (uint32_t from = 0; from < 3; from++) {
        char first[64], names[3][64];
        uint64_t inode = make_file(&f, INODE_ROOT, name_on(&f, INODE_ROOT, from, "first", first));
        for (uint32_t to = 0; to < 3; to++) {
            assert_int_equal(link_inode(&f, inode, INODE_ROOT, name_on(&f, INODE_ROOT, to, "to", names[to])),
                             0);
            assert_int_equal(links_of(inode), to + 2);
            assert_int_equal(lookup(&f, INODE_ROOT, names[to], &attributes), 0);
            assert_int_equal(attributes.inode, inode);
            assert_int_equal(attributes.links, to + 2);
            assert_int_equal(link_inode(&f, inode, INODE_ROOT, names[to]), -EEXIST);
            assert_int_equal(link_inode(&f, inode, INODE_ROOT, first), -EEXIST);
            assert_int_equal(links_of(inode), to + 2);
        }
        assert_int_equal(unlink_name(&f, INODE_ROOT, first), 0);
        for (uint32_t to = 0; to < 3; to++) {
            assert_int_equal(links_of(inode), 3 - to);
            assert_int_equal(unlink_name(&f, INODE_ROOT, names[to]), 0);
        }
        assert_int_equal(get_attributes(&f, inode, &attributes), -ESTALE);
        assert_int_equal(link_inode(&f, inode, INODE_ROOT, names[0]), -ESTALE);
        assert_int_equal(link_inode(&f, inode, INODE_ROOT, names[1]), -ESTALE);
    }
}

static void test_what_may_not_be_linked(void **state)
{
    (void)state;
    uint64_t directory = make_directory(&f, INODE_ROOT, "directory");
    uint64_t inode = make_file(&f, INODE_ROOT, "file");
    char name[64];
    for (uint32_t to = 0; to < 3; to++) {
        name_on(&f, INODE_ROOT, to, "to", name);
        assert_int_equal(link_inode(&f, directory, INODE_ROOT, name), -EPERM);
        assert_int_equal(link_inode(&f, INODE_ROOT, INODE_ROOT, name), -EPERM);
        assert_int_equal(lookup(&f, INODE_ROOT, name, NULL), -ENOENT);
    }
    assert_int_equal(link_inode(&f, inode, INODE_ROOT, "."), -EINVAL);
    assert_int_equal(link_inode(&f, inode, INODE_ROOT, ".."), -EINVAL);
    assert_int_equal(link_inode(&f, 0, INODE_ROOT, "x"), -EINVAL);
    assert_int_equal(link_inode(&f, inode, 0, "x"), -EINVAL);
    assert_int_equal(remove_directory(&f, INODE_ROOT, "directory"), 0);
    for (uint32_t to = 0; to < 3; to++)
        assert_int_equal(link_inode(&f, inode, directory, name_on(&f, directory, to, "x", name)), -ESTALE);
    assert_int_equal(links_of(inode), 1);
}

static void test_links_are_bounded(void **state)
{
    (void)state;
    char name[32];
    uint64_t inode = make_file(&f, INODE_ROOT, "file");
    for (unsigned i = 1; i < INODE_LINKS_MAX; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        assert_int_equal(link_inode(&f, inode, INODE_ROOT, name), 0);
    }
    assert_int_equal(link_inode(&f, inode, INODE_ROOT, "one too many"), -EMLINK);
    assert_int_equal(lookup(&f, INODE_ROOT, "one too many", NULL), -ENOENT);
    assert_int_equal(unlink_name(&f, INODE_ROOT, "n7"), 0);
    assert_int_equal(link_inode(&f, inode, INODE_ROOT, "just one"), 0);
    assert_int_equal(links_of(inode), INODE_LINKS_MAX);
}

/* Only one of several gets the name; the others' links are not counted. */
static void test_one_name_for_many(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 30; round++) {
        struct operation_call calls[6];
        uint64_t inodes[6];
        char name[64];
        for (unsigned i = 0; i < 6; i++) {
            snprintf(name, sizeof(name), "r%u_%u", round, i);
            inodes[i] = make_file(&f, INODE_ROOT, name);
        }
        snprintf(name, sizeof(name), "r%u", round);
        for (unsigned i = 0; i < 6; i++)
            start_link(&f, i % 2 ? &f.client : &f.second, &calls[i], inodes[i], INODE_ROOT, name);
        unsigned made = 0;
        for (unsigned i = 0; i < 6; i++) {
            int status = finish(&calls[i]);
            assert_true(status == 0 || status == -EEXIST);
            made += status == 0;
            assert_int_equal(links_of(inodes[i]), status == 0 ? 2 : 1);
        }
        assert_int_equal(made, 1);
    }
}

/* A new name against the removal of the last one: either the file lives on, or the link failed. */
static void test_link_races_with_unlink(void **state)
{
    (void)state;
    unsigned linked = 0, gone = 0;
    for (unsigned round = 0; round < 90; round++) {
        char name[64], other[64], stem[16];
        struct operation_call link, unlink;
        struct attributes attributes;
        snprintf(stem, sizeof(stem), "a%u_", round);
        uint64_t inode = make_file(&f, INODE_ROOT, name_on(&f, INODE_ROOT, round % 3, stem, name));
        snprintf(stem, sizeof(stem), "b%u_", round);
        name_on(&f, INODE_ROOT, (round + 1) % 3, stem, other);
        if (round % 2 != 0)
            start_name(&f, &f.second, &unlink, RPC_UNLINK, INODE_ROOT, name, sizeof(struct unlink_reply));
        start_link(&f, &f.client, &link, inode, INODE_ROOT, other);
        if (round % 2 == 0)
            start_name(&f, &f.second, &unlink, RPC_UNLINK, INODE_ROOT, name, sizeof(struct unlink_reply));
        int status = finish(&link);
        assert_int_equal(finish(&unlink), 0);
        assert_int_equal(lookup(&f, INODE_ROOT, name, NULL), -ENOENT);
        if (status == 0) {
            assert_int_equal(lookup(&f, INODE_ROOT, other, &attributes), 0);
            assert_int_equal(attributes.links, 1);
            assert_int_equal(unlink_name(&f, INODE_ROOT, other), 0);
            linked++;
        } else {
            assert_int_equal(status, -ESTALE);
            assert_int_equal(lookup(&f, INODE_ROOT, other, NULL), -ENOENT);
            gone++;
        }
        assert_int_equal(get_attributes(&f, inode, &attributes), -ESTALE);
    }
    assert_true(linked > 0 && gone > 0);
}

/* A full server takes no entry, and the count is as before. */
static void test_no_room_for_the_name(void **state)
{
    (void)state;
    fixture_open(&f, &(struct fixture_options){.servers = 3, .metadata_capacity = 1u << 20});
    char name[64], stem[16];
    uint32_t links = 1;
    uint64_t inode = make_file(&f, INODE_ROOT, "file");
    for (uint32_t server = 0; server < 3; server++) {
        int status = 0;
        for (unsigned i = 0; i < 100000 && status == 0; i++) {
            snprintf(stem, sizeof(stem), "l%u_", i);
            status = link_inode(&f, inode, INODE_ROOT, name_on(&f, INODE_ROOT, server, stem, name));
            links += status == 0;
        }
        assert_int_equal(status, -ENOSPC);
        assert_int_equal(lookup(&f, INODE_ROOT, name, NULL), -ENOENT);
        assert_int_equal(links_of(inode), links);
    }
}

/* A file without a name that cannot get this one may still get another. */
static void test_unnamed_stays_linkable(void **state)
{
    (void)state;
    fixture_open(&f,
                 &(struct fixture_options){.servers = 3, .metadata_capacity = 1u << 20, .instances = true});
    char name[64], stem[16];
    uint32_t full = 1, other = 2;
    name_on(&f, INODE_ROOT, 0, "any", name);
    uint64_t hash = dentry_hash(INODE_ROOT, name, strlen(name));
    uint64_t filler = make_file(&f, INODE_ROOT, name_on(&f, INODE_ROOT, full, "filler", name));
    struct operation_call c;
    struct unnamed_request *body = (void *)c.body;
    *body = (struct unnamed_request){.parent = INODE_ROOT,
                                     .hash = hash,
                                     .mode = 0600,
                                     .linkable = 1,
                                     .placement = PLACEMENT_LOCAL,
                                     .chunk_shift = SHIFT};
    call_prepare(&f, &c, RPC_CREATE_UNNAMED, sizeof(*body), sizeof(struct attributes_reply));
    rpc_start(f.client.peers[0], &c.call);
    assert_int_equal(finish(&c), 0);
    uint64_t unnamed = ((struct attributes_reply *)c.reply)->attributes.inode;
    int status = 0;
    for (unsigned i = 0; i < 100000 && status == 0; i++) {
        snprintf(stem, sizeof(stem), "l%u_", i);
        status = link_inode(&f, filler, INODE_ROOT, name_on(&f, INODE_ROOT, full, stem, name));
    }
    assert_int_equal(status, -ENOSPC);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(link_inode(&f, unnamed, INODE_ROOT, name), -ENOSPC);
        assert_int_equal(links_of(unnamed), 0);
    }
    name_on(&f, INODE_ROOT, other, "named", name);
    assert_int_equal(link_inode(&f, unnamed, INODE_ROOT, name), 0);
    assert_int_equal(links_of(unnamed), 1);
    /* But not once it has lost that name. */
    assert_int_equal(unlink_name(&f, INODE_ROOT, name), 0);
    assert_int_equal(links_of(unnamed), 0);
    assert_int_equal(link_inode(&f, unnamed, INODE_ROOT, name), -ESTALE);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_three, close_all)
    const struct CMUnitTest tests[] = {
        CASE(test_names_on_every_server),
        CASE(test_what_may_not_be_linked),
        cmocka_unit_test_setup_teardown(test_links_are_bounded, open_one, close_all),
        CASE(test_one_name_for_many),
        CASE(test_link_races_with_unlink),
        cmocka_unit_test_teardown(test_no_room_for_the_name, close_all),
        cmocka_unit_test_teardown(test_unnamed_stays_linkable, close_all),
        cmocka_unit_test_setup_teardown(test_names_on_every_server, open_lossy, close_all),
        cmocka_unit_test_setup_teardown(test_link_races_with_unlink, open_lossy, close_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
