/* When a replaced page may be taken again. */
#include "unit/unit.h"

#include "base/random.h"
#include "store/cow_pages.h"

static void retired_pages_wait_for_the_journal(void **state)
{
    (void)state;
    struct cow_pages *cow;
    uint32_t taken;
    assert_int_equal(cow_pages_create(8, &cow), 0);
    assert_int_equal(cow_pages_take(cow, 8, &taken), 0);
    assert_int_equal(taken, 8);
    for (uint32_t page = 0; page < 4; page++)
        cow_pages_retire(cow, page);
    cow_pages_committed(cow, 1000);
    assert_int_equal(cow_pages_available(cow), 0);
    cow_pages_seal(cow, 50);
    cow_pages_retire(cow, 4);
    cow_pages_committed(cow, 49);
    assert_int_equal(cow_pages_available(cow), 0);
    assert_int_equal(cow_pages_retired(cow), 5);
    cow_pages_committed(cow, 50);
    assert_int_equal(cow_pages_available(cow), 4);
    assert_int_equal(cow_pages_retired(cow), 1);

    /* A group is cut before the earlier one is durable. */
    cow_pages_seal(cow, 60);
    cow_pages_retire(cow, 6);
    cow_pages_seal(cow, 70);
    cow_pages_committed(cow, 60);
    assert_int_equal(cow_pages_available(cow), 4);
    cow_pages_committed(cow, 70);
    assert_int_equal(cow_pages_available(cow), 6);
    cow_pages_discard(cow, 5, 1);
    cow_pages_discard(cow, 7, 1);
    assert_int_equal(cow_pages_take(cow, 8, &taken), 0);
    assert_int_equal(taken, 8);
    cow_pages_destroy(cow);
}

static void pinned_pages_wait_for_their_readers(void **state)
{
    (void)state;
    struct cow_pages *cow;
    uint32_t taken;
    assert_int_equal(cow_pages_create(4, &cow), 0);
    cow_pages_take(cow, 4, &taken);
    cow_pages_pin(cow, 1, 2);
    cow_pages_pin(cow, 2, 1);
    for (uint32_t page = 0; page < 4; page++)
        cow_pages_retire(cow, page);
    cow_pages_seal(cow, 1);
    cow_pages_committed(cow, 1);
    assert_int_equal(cow_pages_available(cow), 2);
    cow_pages_unpin(cow, 1, 2);
    assert_int_equal(cow_pages_available(cow), 3);
    cow_pages_unpin(cow, 2, 1);
    assert_int_equal(cow_pages_available(cow), 4);

    /* A pin that ends before the page is replaced frees nothing. */
    cow_pages_take(cow, 4, &taken);
    cow_pages_pin(cow, 0, 4);
    cow_pages_unpin(cow, 0, 4);
    assert_int_equal(cow_pages_available(cow), 0);
    cow_pages_destroy(cow);
}

static void claimed_once(void **state)
{
    (void)state;
    struct cow_pages *cow;
    assert_int_equal(cow_pages_create(100, &cow), 0);
    assert_true(cow_pages_claim(cow, 10, 37));
    assert_true(cow_pages_claim(cow, 0, 10));
    assert_true(cow_pages_claim(cow, 99, 1));
    assert_false(cow_pages_claim(cow, 46, 2));
    assert_false(cow_pages_claim(cow, 98, 2));
    cow_pages_destroy(cow);
}

/* Random histories against a plain array: no page is handed out before its time, and all come back. */
enum page_state { FREE, USED, OPEN, SEALED };

struct history {
    struct cow_pages *cow;
    struct random random;
    enum page_state pages[64];
    uint32_t pins[64];
    uint64_t position;
};

static void history_step(struct history *history)
{
    uint32_t page = (uint32_t)random_below(&history->random, 64), taken;
    switch (random_below(&history->random, 6)) {
    case 0:
        page = cow_pages_take(history->cow, 1 + (uint32_t)random_below(&history->random, 8), &taken);
        for (uint32_t i = 0; page != PAGES_NONE && i < taken; i++) {
            assert_int_equal(history->pages[page + i], FREE);
            assert_int_equal(history->pins[page + i], 0);
            history->pages[page + i] = USED;
        }
        break;
    case 1:
        if (history->pages[page] == USED) {
            cow_pages_retire(history->cow, page);
            history->pages[page] = OPEN;
        }
        break;
    case 2:
        if (history->pages[page] == USED) {
            cow_pages_pin(history->cow, page, 1);
            history->pins[page]++;
        }
        break;
    case 3:
        if (history->pins[page] > 0) {
            cow_pages_unpin(history->cow, page, 1);
            history->pins[page]--;
        }
        break;
    case 4:
        cow_pages_seal(history->cow, ++history->position);
        for (page = 0; page < 64; page++)
            if (history->pages[page] == OPEN || history->pages[page] == SEALED)
                history->pages[page] = SEALED;
        break;
    default:
        cow_pages_committed(history->cow, history->position);
        for (page = 0; page < 64; page++)
            if (history->pages[page] == SEALED)
                history->pages[page] = FREE;
    }
    uint64_t available = 0;
    for (page = 0; page < 64; page++)
        available += history->pages[page] == FREE && history->pins[page] == 0;
    assert_int_equal(cow_pages_available(history->cow), available);
}

static void random_histories(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct history history = {0};
        random_seed(&history.random, seed);
        assert_int_equal(cow_pages_create(64, &history.cow), 0);
        for (int i = 0; i < 5000; i++)
            history_step(&history);
        cow_pages_destroy(history.cow);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(retired_pages_wait_for_the_journal),
        cmocka_unit_test(pinned_pages_wait_for_their_readers),
        cmocka_unit_test(claimed_once),
        cmocka_unit_test(random_histories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
