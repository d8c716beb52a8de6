/* Nobody is called faster by chance, by noise or on too little evidence, and what is slower is found. */
#include "unit/unit.h"

#include <math.h>
#include <string.h>

#include "base/random.h"
#include "bench/comparison.h"

static struct sample sample_of(const double *values, uint32_t count)
{
    struct sample sample = {0};
    for (uint32_t i = 0; i < count; i++)
        sample_add(&sample, values[i]);
    return sample;
}

static struct comparison compare(struct sample base, struct sample other, double floor)
{
    struct comparison comparison;
    comparison_make(&base, &other, floor, &comparison);
    return comparison;
}

static void verdicts(void **state)
{
    (void)state;
    struct sample base = sample_of((double[]){100, 101, 99, 100, 102}, 5);
    struct sample slow = sample_of((double[]){90, 91, 89, 90, 92}, 5);
    struct sample like = sample_of((double[]){101, 98, 100, 103, 99}, 5);
    struct comparison comparison = compare(base, slow, 1.02);
    assert_int_equal(comparison.verdict, VERDICT_SLOWER);
    assert_true(fabs(comparison.ratio - 0.9) < 1e-9 && comparison.delta == -1.0);
    assert_true(comparison.low > 0.85 && comparison.high < 0.95);
    assert_int_equal(compare(slow, base, 1.02).verdict, VERDICT_FASTER);
    assert_int_equal(compare(base, slow, 1.12).verdict, VERDICT_IN_NOISE);
    assert_int_equal(compare(slow, base, 1.12).verdict, VERDICT_IN_NOISE);
    assert_int_equal(compare(base, slow, 0.0).verdict, VERDICT_SLOWER); /* floor unknown */
    assert_int_equal(compare(base, like, 1.0).verdict, VERDICT_SAME);
    assert_int_equal(compare(base, base, 1.0).verdict, VERDICT_SAME);
    slow.count = 3;
    assert_int_equal(compare(base, slow, 1.0).verdict, VERDICT_UNKNOWN);
    assert_int_equal(compare(slow, base, 1.0).verdict, VERDICT_UNKNOWN);
    assert_int_equal(compare((struct sample){0}, base, 1.0).verdict, VERDICT_UNKNOWN);
    assert_int_equal(compare(base, sample_of((double[]){0, 0, 0, 0}, 4), 1.0).verdict, VERDICT_UNKNOWN);
}

static void floors(void **state)
{
    (void)state;
    struct sample four = sample_of((double[]){100, 102, 110, 112}, 4);     /* medians 101 and 111 */
    struct sample odd = sample_of((double[]){120, 100, 100, 110, 105}, 5); /* 110 and 105 */
    assert_true(fabs(comparison_floor_of_halves(&four) - 111.0 / 101.0) < 1e-12);
    assert_true(fabs(comparison_floor_of_halves(&odd) - 110.0 / 105.0) < 1e-12);
    four.count = 3;
    assert_true(comparison_floor_of_halves(&four) == 0.0);
    struct sample two = sample_of((double[]){50}, 1), three = sample_of((double[]){60}, 1), none = {0};
    assert_true(comparison_floor(&two, &three) == 1.2 && comparison_floor(&three, &two) == 1.2);
    assert_true(comparison_floor(&two, &none) == 0.0);
}

/* Both sides from one distribution, with the floor that their own halves give: rarely called different. */
static void the_same_is_seldom_called_different(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 5);
    unsigned different = 0;
    for (int trial = 0; trial < 200; trial++) {
        struct sample sides[2] = {0};
        for (int i = 0; i < 20; i++)
            sample_add(&sides[i % 2], 1000.0 + (double)random_below(&random, 201));
        double floor = fmax(comparison_floor_of_halves(&sides[0]), comparison_floor_of_halves(&sides[1]));
        enum verdict verdict = compare(sides[0], sides[1], floor).verdict;
        different += verdict == VERDICT_FASTER || verdict == VERDICT_SLOWER;
    }
    assert_in_range(different, 0, 10); /* 5 % */
}

static void effects_have_names(void **state)
{
    (void)state;
    assert_string_equal(effect_name(0.1), "negligible");
    assert_string_equal(effect_name(-0.2), "small");
    assert_string_equal(effect_name(0.4), "medium");
    assert_string_equal(effect_name(-1.0), "large");
    assert_string_equal(verdict_name(VERDICT_IN_NOISE), "inside the noise floor");
    assert_string_equal(verdict_name(VERDICT_UNKNOWN), "too few repeats");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts),
        cmocka_unit_test(floors),
        cmocka_unit_test(the_same_is_seldom_called_different),
        cmocka_unit_test(effects_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
