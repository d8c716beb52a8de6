/* A library to be loaded from inside BenchFS. */
int answer(void);
__attribute__((visibility("default"))) int answer(void)
{
    return 42;
}
