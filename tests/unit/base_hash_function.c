/* The hash functions: answers that others have published, and what each promises. */
#include "unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/hash_function.h"
#include "base/koyama.h"
#include "base/md5.h"
#include "base/murmur3.h"

/* RFC 1321, appendix A.5. */
static void md5_of_the_rfc(void **state)
{
    (void)state;
    static const struct {
        const char *text, *digest;
    } vectors[] = {
        {"", "d41d8cd98f00b204e9800998ecf8427e"},
        {"a", "0cc175b9c0f1b6a831c399e269772661"},
        {"abc", "900150983cd24fb0d6963f7d28e17f72"},
        {"message digest", "f96b697d7cb7938d525a2f31aaf161d0"},
        {"abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"},
        {"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
         "d174ab98d277d9f5a5611c2c9f419d9f"},
        {"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
         "57edf4a22be3c955ac49da2e2107b67a"},
    };
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        uint8_t digest[MD5_BYTES];
        char text[2 * MD5_BYTES + 1];
        md5(vectors[i].text, strlen(vectors[i].text), digest);
        for (size_t k = 0; k < MD5_BYTES; k++)
            snprintf(text + 2 * k, 3, "%02x", digest[k]);
        assert_string_equal(text, vectors[i].digest);
    }
}

/* Lengths around the end of a block, where the padding takes one block or two: a digest of the digests of 0
 * to 199 bytes, computed with another implementation (Python's hashlib). */
static void md5_of_every_length(void **state)
{
    (void)state;
    static const uint8_t expected[MD5_BYTES] = {0xee, 0xfa, 0x41, 0xf0, 0x88, 0xd5, 0x89, 0xfc,
                                                0xf4, 0xe0, 0xf2, 0xc1, 0xcf, 0xdb, 0x7a, 0x3f};
    uint8_t bytes[200], digests[200 * MD5_BYTES], digest[MD5_BYTES];
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)i;
    for (unsigned length = 0; length < sizeof(bytes); length++)
        md5(bytes, length, digests + length * MD5_BYTES);
    md5(digests, sizeof(digests), digest);
    assert_memory_equal(digest, expected, MD5_BYTES);
}

/* The verification of SMHasher, the test program of its author, and the value it gives for this form. */
static void murmur3_of_its_author(void **state)
{
    (void)state;
    uint8_t key[256], hashes[256 * 16];
    uint64_t hash[2];
    for (unsigned i = 0; i < 256; i++) {
        key[i] = (uint8_t)i;
        murmur3(key, i, 256 - i, hash);
        memcpy(hashes + 16 * i, hash, 16); /* little-endian machines only, like all of BenchFS */
    }
    murmur3(hashes, sizeof(hashes), 0, hash);
    assert_int_equal((uint32_t)hash[0], 0x6384ba69);
}

static void koyama_as_described(void **state)
{
    (void)state;
    assert_int_equal(koyama_hash("", 0), 0);
    assert_int_equal(koyama_hash("a", 1), 'a');
    assert_int_equal(koyama_hash("abc", 3), 'a' + 'b' + 'c');
    assert_int_equal(koyama_hash("abc12300", 7), 'a' + 'b' + 'c' + 1230);
    assert_int_equal(koyama_hash("abc1230\0003", 9), 'a' + 'b' + 'c' + 1230 + 3);
    assert_int_equal(koyama_hash("abc12300a10", 10), 'a' + 'b' + 'c' + 12300 + 'a' + 1);
    assert_int_equal(koyama_hash("file.0000041", 12) + 1, koyama_hash("file.0000042", 12));
    assert_int_equal(koyama_hash("4294967297", 10), 1); /* modulo 2^32 */
    assert_int_equal(koyama_hash("\xff", 1), UINT32_MAX);
}

static void sixty_four_bits_of_each(void **state)
{
    (void)state;
    assert_true(hash_apply(HASH_XXHASH64, "", 0) == UINT64_C(0xef46db3751d8e999)); /* xxhash's own test */
    assert_true(hash_apply(HASH_XXHASH64, "abc", 3) == hash64("abc", 3, 0));
    assert_true(hash_apply(HASH_MD5, "abc", 3) == UINT64_C(0xb04fd23c98500190));
    uint64_t hash[2];
    murmur3("abc", 3, 0, hash);
    assert_true(hash_apply(HASH_MURMUR3, "abc", 3) == hash[0]);
    assert_true(hash_apply(HASH_KOYAMA, "abc", 3) == 294);
}

static void names_lead_there_and_back(void **state)
{
    (void)state;
    for (enum hash_function function = 0; function < HASH_FUNCTIONS; function++)
        assert_int_equal(hash_function_from_name(hash_function_name(function)), function);
    assert_int_equal(hash_function_from_name("sha1"), -EINVAL);
    assert_int_equal(hash_function_from_name(""), -EINVAL);
}

/* Chi-square of similar names over 64 places: 63 degrees of freedom, 99.99 % below 116. */
static double chi_square(enum hash_function function)
{
    enum { NAMES = 64 * 256 };
    uint32_t counts[64] = {0};
    double sum = 0.0;
    for (uint32_t i = 0; i < NAMES; i++) {
        char name[32];
        int length = snprintf(name, sizeof(name), "file.%07u", i);
        counts[hash_apply(function, name, (size_t)length) >> 58]++;
    }
    for (int i = 0; i < 64; i++)
        sum += ((double)counts[i] - 256.0) * ((double)counts[i] - 256.0) / 256.0;
    return sum;
}

static void those_that_spread_do(void **state)
{
    (void)state;
    for (enum hash_function function = 0; function < HASH_FUNCTIONS; function++) {
        double sum = chi_square(function);
        print_message("# %s: chi-square %.1f\n", hash_function_name(function), sum);
        if (hash_function_spreads(function))
            assert_true(sum < 116.0);
        else
            assert_true(sum > 116.0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(md5_of_the_rfc),          cmocka_unit_test(md5_of_every_length),
        cmocka_unit_test(murmur3_of_its_author),   cmocka_unit_test(koyama_as_described),
        cmocka_unit_test(sixty_four_bits_of_each), cmocka_unit_test(names_lead_there_and_back),
        cmocka_unit_test(those_that_spread_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
