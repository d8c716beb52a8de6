/* The intrusive list keeps order and stays consistent when elements leave it in any way. */
#include "unit/unit.h"

#include "base/list.h"

struct element {
    int value;
    struct list link;
};

static int value_of(struct list *node)
{
    return container_of(node, struct element, link)->value;
}

static void keeps_order(void **state)
{
    (void)state;
    struct list head = LIST_INIT(head);
    struct element elements[3] = {{.value = 0}, {.value = 1}, {.value = 2}};

    list_push_back(&head, &elements[1].link);
    list_push_back(&head, &elements[2].link);
    list_push_front(&head, &elements[0].link);
    int expected = 0;
    list_for_each (node, &head)
        assert_int_equal(value_of(node), expected++);
    assert_int_equal(expected, 3);
    assert_int_equal(value_of(list_pop_front(&head)), 0);
    assert_int_equal(value_of(list_pop_front(&head)), 1);
    assert_int_equal(value_of(list_pop_front(&head)), 2);
    assert_null(list_pop_front(&head));
    assert_true(list_empty(&head));
}

static void removing_twice_does_no_harm(void **state)
{
    (void)state;
    struct list head;
    struct element elements[2] = {{.value = 0}, {.value = 1}};

    list_init(&head);
    list_push_back(&head, &elements[0].link);
    list_push_back(&head, &elements[1].link);
    list_remove(&elements[0].link);
    list_remove(&elements[0].link);
    assert_int_equal(value_of(head.next), 1);
    assert_ptr_equal(head.next, head.prev);
}

static void iteration_survives_removal_of_the_current_node(void **state)
{
    (void)state;
    struct list head = LIST_INIT(head);
    struct element elements[4] = {0};
    int seen = 0;

    for (size_t i = 0; i < 4; i++)
        list_push_back(&head, &elements[i].link);
    list_for_each_safe (node, &head) {
        list_remove(node);
        seen++;
    }
    assert_int_equal(seen, 4);
    assert_true(list_empty(&head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_order),
        cmocka_unit_test(removing_twice_does_no_harm),
        cmocka_unit_test(iteration_survives_removal_of_the_current_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
