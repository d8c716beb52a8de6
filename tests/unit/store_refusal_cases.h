/* The cases of store_refusal.h. */
#pragma once

#undef malloc
#undef calloc
#undef realloc
#undef aligned_alloc
#undef strdup

static void expect_enomem(int status)
{
    if (status != 0)
        assert_int_equal(status, -ENOMEM);
}

/* Starts again over what was committed. */
static void start_again(struct mirror *mirror)
{
    conformance_unmount(true);
    int status = conformance_mount();
    expect_enomem(status);
    if (status != 0)
        assert_int_equal(conformance_mount(), 0);
    mirror->store = conformance.store;
}

/* Whether there were so many allocations that one was refused. */
static bool with_refusal(uint64_t seed)
{
    static struct mirror mirror;
    conformance.options = conformance_options;
    conformance_medium_make();
    int status = conformance_mount();
    expect_enomem(status);
    if (status != 0)
        assert_int_equal(conformance_mount(), 0);
    mirror_init(&mirror, conformance.store, seed);
    for (uint32_t i = 0; i < 30; i++) {
        expect_enomem(mirror_step(&mirror));
        if (i % 10 == 9)
            expect_enomem(mirror_check(&mirror));
        if (i == 12)
            expect_enomem(journal_snapshot_take(conformance.journal));
        struct store_cursor cursor = {0};
        while (mirror.store->operations->next(mirror.store, &cursor))
            assert_int_equal(cursor.inode, MIRROR_INODE);
        struct store_scrub found;
        status = mirror.store->operations->scrub(mirror.store, MIRROR_INODE, 0, &found);
        assert_true(status == 0 || status == -ENOENT || status == -ENOMEM);
    }
    assert_int_equal(conformance_commit(), 0);
    expect_enomem(mirror_check(&mirror));
    start_again(&mirror);
    bool hit = allocations > failing;
    failing = UINT64_MAX;
    assert_int_equal(mirror_check(&mirror), 0);
    assert_int_equal(mirror.store->operations->remove(mirror.store, MIRROR_INODE, 0), 0);
    assert_int_equal(conformance_used(mirror.store), 0);
    conformance_close(mirror.store);
    return hit;
}

static void every_allocation_fails(void **state)
{
    (void)state;
    conformance.place = "/dev/shm"; /* quick: nothing is about the device here */
    uint64_t at = 0;
    do {
        assert_true(at < 5000);
        allocations = 0;
        failing = at++;
    } while (with_refusal(11));
    assert_true(at > REFUSALS_MIN);
}
